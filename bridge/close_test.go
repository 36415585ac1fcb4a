package bridge

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseWaitsForNobodyWhoLeft: a session's call goes on for a while after its client left, for the client may come
// back. To a server that is closing it cannot.
func TestCloseWaitsForNobodyWhoLeft(t *testing.T) {
	for _, first := range []string{"the client", "the server"} {
		t.Run(first+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.Era = "legacy"
				n := &nursery{bad: says(), greet: 1} // never answers
				s := testServer(t, cfg, who, n.start)
				alice := (&person{t: t, s: s, name: "alice"}).open()
				ctx, leave := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { // ends with the call
					defer close(ended)
					r := httptest.NewRequestWithContext(ctx, "POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bad"}}`))
					r.Header.Set("X-User", alice.name)
					r.Header.Set("Mcp-Session-Id", alice.session)
					s.ServeHTTP(httptest.NewRecorder(), r)
				}()
				synctest.Wait()
				began := time.Now()
				closed := make(chan error, 1)
				if first == "the server" {
					go func() { closed <- s.Close(t.Context()) }()
					synctest.Wait()
					leave()
				} else {
					leave()
					synctest.Wait()
					go func() { closed <- s.Close(t.Context()) }()
				}
				<-ended
				if err := <-closed; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("the end took %v", took)
				}
			})
		})
	}
}

// broken is a response whose writer has a bug.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { panic("a bug") }

// TestCloseAfterPanic: a request that panicked, which whoever serves HTTP guards against, is none that goes on.
func TestCloseAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testServer(t, DefaultConfig(), who, (&nursery{greet: 1}).start)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the writer was not called")
				}
			}()
			s.ServeHTTP(broken{httptest.NewRecorder()}, httptest.NewRequestWithContext(t.Context(), "POST", "/mcp", strings.NewReader("nonsense")))
		}()
		began := time.Now()
		if err := s.Close(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("the end took %v: %v", time.Since(began), err)
		}
	})
}
