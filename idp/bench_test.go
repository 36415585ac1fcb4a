package idp_test

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func benchIssuer(b *testing.B, tokens int) (*idp.Issuer, []string) {
	b.Helper()
	return benchIssuerAt(b, filepath.Join(b.TempDir(), "mcpd.db"), tokens)
}

func benchIssuerAt(b *testing.B, file string, tokens int) (*idp.Issuer, []string) {
	b.Helper()
	store, err := idp.OpenStore(file)
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

// A million more tokens in the table: neither one in memory nor one that is looked up costs more.
func BenchmarkVerifyAmongAMillion(b *testing.B) {
	file := filepath.Join(b.TempDir(), "mcpd.db")
	i, all := benchIssuerAt(b, file, 1)
	raw, err := sql.Open("sqlite", file)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	_, err = raw.Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
		INSERT INTO access_tokens (hash, family, scopes, created, expires) SELECT randomblob(32), f.id, f.scopes, f.created, f.expires FROM n, families f`)
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	for name, token := range map[string]string{"known": all[0], "unknown": "mcpd_at_AAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Verify(ctx, token, "https://alpha.example/mcp"); (err == nil) != (name == "known") {
					b.Fatal(err)
				}
			}
		})
	}
}

// A refresh: the whole endpoint but the network, by one client and by many at once, each with a family of its own.
func BenchmarkRefresh(b *testing.B) {
	h := newHouse(b)
	a, alice := h.registered(loopback), h.signedIn("alice")
	handler := h.issuer.Handler()
	refresh := func(token string) string {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {a.id}}
		r := httptest.NewRequest(http.MethodPost, h.url+"/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var got tokens
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			b.Error(w.Code, w.Body.String(), err)
		}
		return got.Refresh
	}
	b.Run("one", func(b *testing.B) {
		token := a.redeem(a.code(alice, nil), nil).wants(h, 200, "").Refresh
		b.ReportAllocs()
		for b.Loop() {
			token = refresh(token)
		}
	})
	b.Run("many", func(b *testing.B) {
		const many = 200
		all := make(chan string, many)
		for range many {
			all <- a.redeem(a.code(alice, nil), nil).wants(h, 200, "").Refresh
		}
		b.ReportAllocs()
		b.SetParallelism(many / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			token := <-all
			for pb.Next() {
				token = refresh(token)
			}
			all <- token
		})
	})
}
