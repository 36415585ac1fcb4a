package router

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestHangUp ends a stream of one person in each version of HTTP, and leaves another's.
func TestHangUp(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(version, func(t *testing.T) {
			ended := make(chan string, 2)
			h := newHouse(t, "localhost", func(o *Options) {
				o.Verify = func(_ context.Context, token, _ string) (Principal, error) {
					return Principal{ID: token, Scopes: []string{"mcp"}}, nil
				}
			})
			table, err := NewTable([]Route{{Name: "a", Host: "localhost", Prefix: "/a", Resource: "http://localhost:8080/a/mcp",
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "it begins")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					who, _ := PrincipalOf(r.Context())
					ended <- who.ID
				})}})
			if err != nil {
				t.Fatal(err)
			}
			h.Swap(table)
			srv := httptest.NewUnstartedServer(h)
			srv.Listener, srv.Config.ConnContext = lazyDoor{srv.Listener}, connContext
			srv.EnableHTTP2 = version == "HTTP/2.0"
			if srv.EnableHTTP2 {
				srv.StartTLS()
				tls := srv.Client().Transport.(*http.Transport).TLSClientConfig
				tls.ServerName, tls.InsecureSkipVerify = "localhost", true // its certificate is for another name
			} else {
				srv.Start()
			}
			defer srv.Close()
			streams := map[string]io.ReadCloser{}
			for _, who := range []string{"alice", "bob"} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/a/mcp", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+who)
				resp, err := srv.Client().Do(req)
				if err != nil || resp.Proto != version || resp.StatusCode != http.StatusOK {
					t.Fatal(resp, err)
				}
				if _, err := io.ReadFull(resp.Body, make([]byte, len("it begins"))); err != nil {
					t.Fatal(err)
				}
				streams[who] = resp.Body
			}
			h.HangUp(func(server string, p Principal) bool { return server == "a" && p.ID == "alice" })
			select {
			case who := <-ended:
				if who != "alice" {
					t.Errorf("the stream of %s ended", who)
				}
			case <-time.After(time.Minute):
				t.Fatal("the stream goes on")
			}
			if _, err := streams["alice"].Read(make([]byte, 1)); err == nil {
				t.Error("the client was told nothing")
			}
			if len(ended) > 0 {
				t.Error("bob's ended too")
			}
			_ = streams["bob"].Close()
			<-ended
			srv.Close() // waits for what is under way in HTTP/1, and in HTTP/2 nobody does
			listed := func() (n int) {
				for i := range h.present.part {
					part := &h.present.part[i]
					part.mu.Lock()
					for x := part.head; x != nil; x = x.next {
						n++
					}
					part.mu.Unlock()
				}
				return n
			}
			look := time.NewTicker(time.Millisecond)
			defer look.Stop()
			for limit := time.After(time.Minute); listed() > 0; {
				select {
				case <-look.C:
				case <-limit:
					t.Fatalf("%d requests that ended are still listed", listed())
				}
			}
		})
	}
}

// TestHangUpBetween revokes while a token is being looked at: the request must not slip through.
func TestHangUpBetween(t *testing.T) {
	var h *house
	var looked atomic.Int32
	h = newHouse(t, "localhost", func(o *Options) {
		o.Verify = func(context.Context, string, string) (Principal, error) {
			if looked.Add(1) > 1 {
				return Principal{}, ErrInvalidToken
			}
			h.HangUp(func(string, Principal) bool { return true }) // before anything is listed
			return Principal{ID: "alice", Scopes: []string{"mcp"}}, nil
		}
	})
	req := httptest.NewRequest(http.MethodPost, "http://localhost:8080/a/mcp", nil)
	req.Header.Set("Authorization", "Bearer good-a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusUnauthorized || len(h.take()) > 0 {
		t.Errorf("status %d", w.Code)
	}
	if a := h.last(t); a.Principal != "alice" {
		t.Errorf("record of %q", a.Principal) // who it was is known, and of use in the log
	}
}
