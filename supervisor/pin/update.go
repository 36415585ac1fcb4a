package pin

import (
	"context"
	"fmt"
)

// Newest installs the newest version that the wish allows, beside what is pinned, and changes no pin.
// fresh tells whether it is another one than that.
func (s *Store) Newest(ctx context.Context, w Wish) (p Pin, fresh bool, err error) {
	if l, err := local(w.Dir, w.Request); err != nil || l != nil {
		if err == nil {
			err = fmt.Errorf("cannot update %s: it is in the node_modules of the server's directory", w.Request)
		}
		return p, false, err
	}
	leave, err := s.enter(ctx, w)
	if err != nil {
		return p, false, err
	}
	defer leave()
	s.note(w.Server, "looking for the newest "+w.Request.String())
	version, err := s.newest(ctx, w)
	if err != nil {
		return p, false, err
	}
	if e, _ := s.Of(w.Server); e.answers(w) && e.Now.Version == version && e.Now.Scripts == w.Scripts && s.there(e.Now) {
		return e.Now, false, nil
	}
	p, err = s.install(ctx, w, Pin{Version: version})
	return p, true, err
}

// Program is how an installed version is started.
func (s *Store) Program(w Wish, p Pin) (Program, error) { return s.program(w, p) }

// Accept makes p the server's version, and the one of now that which Back goes back to.
func (s *Store) Accept(w Wish, p Pin) error { return s.accept(w, p) }

func (s *Store) accept(w Wish, p Pin) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failed, w.Server)
	before, had := s.entries[w.Server]
	e := Entry{Request: w.Request.String(), Now: p}
	if had && before.Now.Package == p.Package && before.Now.Python == p.Python && before.Now.Source == p.Source {
		e.Before = before.Before
		if before.Now.Version != p.Version {
			e.Before = &before.Now
		}
	}
	s.entries[w.Server] = e
	if err := s.save(); err != nil {
		if delete(s.entries, w.Server); had {
			s.entries[w.Server] = before
		}
		return err
	}
	return nil
}

// Back swaps the server's version with the one before and returns what is pinned now.
func (s *Store) Back(server string) (Pin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[server]
	switch {
	case !ok:
		return Pin{}, fmt.Errorf("cannot go back: nothing is pinned for %s", server)
	case e.Before == nil:
		return Pin{}, fmt.Errorf("cannot go back: %s is the only version that %s has had", e.Now, server)
	case !s.there(*e.Before):
		return Pin{}, fmt.Errorf("cannot go back: %s is not installed any more", *e.Before)
	}
	was := e
	e.Now, e.Before = *was.Before, &was.Now
	s.entries[server] = e
	if err := s.save(); err != nil {
		s.entries[server] = was
		return Pin{}, err
	}
	return e.Now, nil
}
