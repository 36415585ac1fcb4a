package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// silentChecks is how many checks in a row a worker may leave without an answer; then it is ended, for a new one.
const silentChecks = 2

// Check asks the workers that have nothing else to do whether they work, until ctx ends: for their list of tools, to which
// any answer is one, or to call a tool with arguments, a JSON object, which has to go well. A worker that is busy shows by
// itself whether it works. asked is how many were asked, and the error what was wrong with one of them.
func (s *Server) Check(ctx context.Context, tool, arguments string) (asked int, err error) {
	var idle []*Conn
	s.mu.Lock()
	for c := range s.conns {
		if c.opened.Load() && c.calls.work() == 0 {
			idle = append(idle, c)
		}
	}
	s.mu.Unlock()
	errs := make([]error, len(idle))
	var all sync.WaitGroup
	for i, c := range idle {
		all.Go(func() { errs[i] = c.check(ctx, tool, arguments) }) // ends with ctx
	}
	all.Wait()
	for _, e := range errs {
		if err == nil {
			err = e
		}
	}
	return len(idle), err
}

func (c *Conn) check(ctx context.Context, tool, arguments string) error {
	method, params := "tools/list", ""
	if tool != "" {
		method, params = "tools/call", `"name":`+string(quote(nil, tool))+`,"arguments":`+arguments
	}
	f, err := c.request(ctx, method, params)
	switch {
	case c.Err() != nil: // it has ended, which whoever owns it knows
		return nil
	case err != nil && c.calls.work() > 0: // it has got work meanwhile
		return nil
	case err != nil:
		if c.silent.Add(1) >= silentChecks {
			c.fail(fmt.Errorf("gave no answer to %d checks by %s", silentChecks, method))
		}
		return fmt.Errorf("no answer to %s", method)
	}
	defer c.drop(f)
	c.silent.Store(0)
	switch {
	case tool == "":
		return nil
	case f.env.kind == kindError:
		return fmt.Errorf("%s: %s", tool, brief(string(text(f.env.fText.of(f.line.b)))))
	case f.env.failed:
		return errors.New(tool + " says that it failed")
	}
	return nil
}

// brief cuts what a server says to what fits into a line.
func brief(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
