package upstreamtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// GitHub starts a GitHub Enterprise Server, as far as signing in goes. Lists come in pages, as there.
func GitHub(t testing.TB) *Service {
	s, mux := start(t)
	mux.HandleFunc("/login/oauth/authorize", s.authorize)
	mux.HandleFunc("/login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.redeem(w, r); !ok {
			return
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded") // what GitHub answers who does not ask for JSON
		_, _ = w.Write([]byte(url.Values{"access_token": {"access"}, "token_type": {"bearer"}, "scope": {"read:user"}}.Encode()))
	})
	mux.HandleFunc("/api/v3/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		var list []any
		switch strings.TrimPrefix(r.URL.Path, "/api/v3") {
		case "/user":
			answer(w, map[string]any{"login": "whoever", "id": json.Number(s.Person.Subject)})
			return
		case "/user/emails":
			list = append(list, map[string]any{"email": "other@example.com", "primary": false, "verified": true},
				map[string]any{"email": s.Person.Email, "primary": true, "verified": s.Person.Verified})
		case "/user/orgs":
			for _, o := range s.Person.Groups {
				list = append(list, map[string]any{"login": o})
			}
		case "/user/teams":
			if s.Shy {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			for _, full := range s.Person.Teams {
				org, team, _ := strings.Cut(full, "/")
				list = append(list, map[string]any{"slug": team, "organization": map[string]any{"login": org}})
			}
		}
		size, _ := strconv.Atoi(r.FormValue("per_page"))
		n, _ := strconv.Atoi(r.FormValue("page"))
		from := min(size*(n-1), len(list))
		answer(w, list[from:min(from+size, len(list))])
	})
	return s
}
