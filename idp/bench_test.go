package idp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func benchIssuer(b *testing.B, tokens int) (*idp.Issuer, []string) {
	b.Helper()
	store, err := idp.OpenStore(filepath.Join(b.TempDir(), "mcpd.db"))
	if err != nil {
		b.Fatal(err)
	}
	i, err := idp.New(b.Context(), idp.Options{
		Issuer: "https://auth.example", Config: idp.DefaultConfig(), Store: store,
		Resource: func(r string) (string, string, bool) { return r, "alpha", true },
		Allowed:  func(string, idp.User) bool { return true },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = i.Close() })
	if _, err := i.CreateUser(b.Context(), "alice", ""); err != nil {
		b.Fatal(err)
	}
	all := make([]string, tokens)
	for n := range all {
		if all[n], err = i.Mint(b.Context(), idp.MintRequest{User: "alice", Resource: "https://alpha.example/mcp", TTL: time.Hour}); err != nil {
			b.Fatal(err)
		}
	}
	return i, all
}

// The hot path: a token that was seen before.
func BenchmarkVerify(b *testing.B) {
	i, all := benchIssuer(b, 1000)
	check := func(b *testing.B, token string) {
		if _, err := i.Verify(b.Context(), token, "https://alpha.example/mcp"); err != nil {
			b.Fatal(err)
		}
	}
	for _, token := range all {
		check(b, token)
	}
	ctx := b.Context()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.Verify(ctx, all[0], "https://alpha.example/mcp"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for n := 0; pb.Next(); n++ {
				if _, err := i.Verify(ctx, all[n%len(all)], "https://alpha.example/mcp"); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("parallel-one-token", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := i.Verify(ctx, all[0], "https://alpha.example/mcp"); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.Verify(ctx, "mcpd_at_AAAAAAAAAAAAAAAAAAAAAAAAAA", "https://alpha.example/mcp"); err == nil {
				b.Fatal("good")
			}
		}
	})
}

// A refresh: the whole endpoint, two transactions' worth of checks and one that writes.
func BenchmarkRefresh(b *testing.B) {
	h := newHouse(b)
	a := h.registered(loopback)
	token := a.redeem(a.code(h.signedIn("alice"), nil), nil).wants(h, 200, "").Refresh
	handler := h.issuer.Handler()
	b.ReportAllocs()
	for b.Loop() {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {a.id}}
		r := httptest.NewRequest(http.MethodPost, h.url+"/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var got tokens
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			b.Fatal(w.Code, w.Body.String(), err)
		}
		token = got.Refresh
	}
}
