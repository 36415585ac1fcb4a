package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/supervisor"
)

// adminError is an answer of the admin socket that is not a success: the status, and the sentence the command prints.
type adminError struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
}

func (e *adminError) Error() string { return e.Message }

// adminHandler serves the commands. Whoever can open the socket (mode 0600, in a 0700 directory) is the
// user mcpd runs as, so nothing more is asked; bodies are small and every answer is JSON.
func (d *daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.metricsHandler())
	for pattern, h := range map[string]func(w http.ResponseWriter, r *http.Request) (any, error){
		"GET /v1/status":                  d.adminStatus,
		"POST /v1/reload":                 d.adminReload,
		"POST /v1/check":                  d.adminCheck,
		"GET /v1/logs/{server}":           d.adminLogs,
		"POST /v1/servers/{server}/{do}":  d.adminPower,
		"POST /v1/package/{server}/{do}":  d.adminPackage,
		"GET /v1/users":                   d.adminUsers,
		"POST /v1/users":                  d.adminAddUser,
		"DELETE /v1/users/{user}":         d.adminRemoveUser,
		"PUT /v1/users/{user}/password":   d.adminPassword,
		"DELETE /v1/users/{user}/factors": d.adminReset,
		"POST /v1/users/{user}/link":      d.adminLink,
		"POST /v1/users/{user}/revoke":    d.adminRevoke,
		"GET /v1/backup":                  d.adminBackup,
		"GET /v1/keys":                    d.adminKeys,
		"POST /v1/keys":                   d.adminRotateKeys,
		"GET /v1/tokens":                  d.adminTokens,
		"POST /v1/tokens":                 d.adminToken,
		"DELETE /v1/tokens/{token}":       d.adminRevokeToken,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			v, err := h(w, r)
			d.answerAdmin(w, v, err)
		})
	}
	return mux
}

// answerAdmin writes v, or err with its status; a nil v means that the handler wrote its answer itself.
func (d *daemon) answerAdmin(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		var ae *adminError
		if !errors.As(err, &ae) {
			ae = &adminError{http.StatusUnprocessableEntity, err.Error()} // the person at the socket owns the daemon: causes are theirs to read
		}
		status, v = ae.Status, ae
	}
	if v == nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		d.log.Debug("admin answer not written", zap.Error(err))
	}
}

func readAdmin(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return &adminError{http.StatusBadRequest, "cannot read the request: " + err.Error()}
	}
	return nil
}

func (d *daemon) adminStatus(_ http.ResponseWriter, r *http.Request) (any, error) {
	if name := r.URL.Query().Get("server"); name != "" {
		return d.statusOf(name)
	}
	return d.status(), nil
}

func (d *daemon) adminReload(_ http.ResponseWriter, r *http.Request) (any, error) {
	ch, err := d.reload(context.WithoutCancel(r.Context()))
	if err != nil {
		return nil, err
	}
	held, notes := d.settle(r.Context())
	ch.Held, ch.Notes = held, append(ch.Notes, notes...)
	return ch, nil
}

// adminCheck is a reload without the doing: the daemon's own environment expands the file, so its answer is the true one.
func (d *daemon) adminCheck(http.ResponseWriter, *http.Request) (any, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	p, err := d.plan()
	if err != nil {
		return nil, err
	}
	for name, t := range d.beside { // it is being replaced by just that, and would be still
		if slices.Contains(p.change.Restart, name) && p.world.tenants[name].bridge == t.bridge {
			p.change.Restart = slices.DeleteFunc(p.change.Restart, func(n string) bool { return n == name })
			p.change.Keep = append(p.change.Keep, name)
			p.change.Notes = append(p.change.Notes, name+" goes on as it was, until the replacement that is being tried is ready")
		}
	}
	slices.Sort(p.change.Keep)
	slices.Sort(p.change.Notes)
	return p.change, nil
}

// logLine is one stderr line of a worker as the admin socket tells it, a JSON object a line.
type logLine struct {
	Time   time.Time `json:"time"`
	Worker int       `json:"worker"`
	Text   string    `json:"text"`
}

func (l logLine) String() string {
	return fmt.Sprintf("%s [%d] %s", l.Time.Local().Format("2006-01-02 15:04:05.000"), l.Worker, l.Text)
}

// logQuery is which lines are asked for.
type logQuery struct {
	lines  int       // at most so many of those there are
	since  time.Time // zero: from the beginning
	worker int       // 0: any
}

func readLogQuery(q url.Values) (logQuery, error) {
	l := logQuery{lines: 100}
	var errs [3]error
	if s := q.Get("lines"); s != "" {
		l.lines, errs[0] = strconv.Atoi(s)
	}
	if s := q.Get("worker"); s != "" {
		l.worker, errs[1] = strconv.Atoi(s)
	}
	if s := q.Get("since"); s != "" {
		l.since, errs[2] = time.Parse(time.RFC3339Nano, s)
	}
	if errors.Join(errs[:]...) != nil || l.lines < 0 {
		return l, &adminError{http.StatusBadRequest, "lines and worker must be whole numbers, since a time as in RFC 3339"}
	}
	return l, nil
}

func (q logQuery) match(l supervisor.Line) bool {
	return (q.worker == 0 || l.Worker == q.worker) && !l.Time.Before(q.since)
}

// back is how many lines from the end hold the last that match.
func (q logQuery) back(kept []supervisor.Line) int {
	found := 0
	for i := len(kept) - 1; i >= 0 && found < q.lines; i-- {
		if q.match(kept[i]) {
			if found++; found == q.lines {
				return len(kept) - i
			}
		}
	}
	if q.lines == 0 {
		return 0
	}
	return len(kept)
}

func (d *daemon) adminLogs(w http.ResponseWriter, r *http.Request) (any, error) {
	name := r.PathValue("server")
	logs, ok := d.supervisor.Logs(name)
	if !ok {
		return nil, d.noServer(name)
	}
	want, err := readLogQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	n := want.back(logs.Tail(math.MaxInt32))
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	write := func(l logLine) error { return errors.Join(enc.Encode(l), flush.Flush()) }
	if r.URL.Query().Get("follow") == "" {
		for _, l := range logs.Tail(n) {
			if !want.match(l) {
				continue
			}
			if err := enc.Encode(logLine{l.Time, l.Worker, l.Text}); err != nil {
				return nil, nil //nolint:nilerr // the reader left
			}
		}
		return nil, nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	for l := range logs.FollowTail(ctx, n) {
		if want.match(l) && write(logLine{l.Time, l.Worker, l.Text}) != nil {
			break
		}
	}
	return nil, nil
}

func (d *daemon) adminPower(_ http.ResponseWriter, r *http.Request) (any, error) {
	name := r.PathValue("server")
	if _, ok := d.world.Load().tenants[name]; !ok {
		return nil, d.noServer(name)
	}
	do, ok := map[string]func(context.Context, string) error{
		"start": d.supervisor.Start, "stop": d.supervisor.Stop, "restart": d.supervisor.Restart,
	}[r.PathValue("do")]
	if !ok {
		return nil, &adminError{http.StatusNotFound, "no such action"}
	}
	d.putInPlace(name)
	if err := do(r.Context(), name); err != nil {
		return nil, err
	}
	st, err := d.statusOf(name)
	if err != nil {
		return nil, err
	}
	return st.Servers[0], nil
}

func (d *daemon) noServer(name string) error {
	msg := fmt.Sprintf("there is no server %q in %s", name, d.configFile)
	if near := closest(name, d.world.Load().names()); near != "" {
		msg += fmt.Sprintf("; did you mean %q?", near)
	}
	return &adminError{http.StatusNotFound, msg}
}

// userRequest is the body of the calls on users. Password is never logged or answered.
type userRequest struct {
	Name     string `json:"name,omitempty"`
	Password string `json:"password,omitempty"`
}

// userAnswer is a user as the commands print it.
type userAnswer struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Link    string    `json:"link,omitempty"` // one-time sign-in link, only where it was asked for

	Provider string   `json:"provider,omitempty"` // who vouches for them, and
	Groups   []string `json:"groups,omitempty"`   // what groups it named last
}

func answerOf(u idp.User) userAnswer {
	return userAnswer{Name: u.Name, ID: u.ID, Created: u.Created, Provider: u.Provider, Groups: u.Groups}
}

// needIssuer refuses the calls on people and tokens while auth.mode = "none", where there are none.
func (d *daemon) needIssuer() error {
	if d.issuer == nil {
		return &adminError{http.StatusConflict, `auth.mode is "none": there are no users and no tokens`}
	}
	return nil
}

func (d *daemon) adminUsers(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	users, err := d.issuer.Users(r.Context())
	if err != nil {
		return nil, err
	}
	all := []userAnswer{}
	for _, u := range users {
		all = append(all, answerOf(u))
	}
	return all, nil
}

func (d *daemon) adminAddUser(_ http.ResponseWriter, r *http.Request) (any, error) {
	var req userRequest
	if err := errors.Join(d.needIssuer(), readAdmin(r, &req)); err != nil {
		return nil, err
	}
	u, err := d.issuer.CreateUser(r.Context(), req.Name, req.Password)
	if err != nil {
		return nil, err
	}
	answer := answerOf(u)
	if req.Password == "" {
		if answer.Link, err = d.issuer.SignInLink(r.Context(), u.Name, signInLinkTTL); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// adminRemoveUser ends everything of that person too: see ended.
func (d *daemon) adminRemoveUser(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	u, err := d.issuer.RemoveUser(r.Context(), r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	return answerOf(u), nil
}

// adminReset is for a person who has lost their phone: nothing but the password is left, and a link to sign in with.
func (d *daemon) adminReset(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	u, err := d.issuer.Reset(r.Context(), r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	answer := answerOf(u)
	answer.Link, err = d.issuer.SignInLink(r.Context(), u.Name, signInLinkTTL)
	return answer, err
}

func (d *daemon) adminPassword(_ http.ResponseWriter, r *http.Request) (any, error) {
	var req userRequest
	if err := errors.Join(d.needIssuer(), readAdmin(r, &req)); err != nil {
		return nil, err
	}
	return struct{}{}, d.issuer.SetPassword(r.Context(), r.PathValue("user"), req.Password)
}

func (d *daemon) adminLink(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	link, err := d.issuer.SignInLink(r.Context(), r.PathValue("user"), signInLinkTTL)
	return userAnswer{Name: r.PathValue("user"), Link: link}, err
}

// drainBody lets a connection be used again.
func drainBody(b io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(b, 64<<10))
	_ = b.Close()
}
