package supervisor

import "time"

// patience is how often workers on which calls meet are looked at: a call waits about twice that for
// another before its worker gets company.
const patience = 20 * time.Millisecond

// widen gives a key more workers where calls wait for each other, one more than wait, so that who comes
// next finds a free one. The calls that wait stay where they are.
func (s *server[C]) widen(now time.Time) {
	switch {
	case !s.pool.underPressure():
		s.looks = time.Time{}
		return
	case s.looks.IsZero():
		s.looks = now.Add(patience)
		return
	case now.Before(s.looks):
		return
	}
	s.looks = now.Add(patience)
	for key, missing := range s.pool.missing() {
		for range missing - s.comingTo(key) {
			if s.refusal(now) != nil {
				break
			}
			if w := s.spare(key); w != nil {
				s.pool.assign(w, key)
			} else if !s.room() || s.launch(key, true, now) != nil {
				break // the others go on serving
			}
		}
	}
}

// comingTo counts the workers that are being started for key.
func (s *server[C]) comingTo(key string) (n int) {
	for _, w := range s.workers {
		if w.owned && w.key == key && w.generation == s.generation && w.state == starting {
			n++
		}
	}
	return n
}

func (p *Pool[C]) spread(held func(C) (calls, held int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
}

func (p *Pool[C]) underPressure() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pressed
}

// missing is how many workers each key is short of. Where calls do not meet any more the pressure is over.
func (p *Pool[C]) missing() map[string]int {
	p.mu.Lock()
	p.pressed = false // who comes from here on says so again
	count := p.held
	conns, missing := make(map[string][]C, len(p.ready)), map[string]int{}
	for key, workers := range p.ready {
		for _, w := range workers {
			conns[key] = append(conns[key], w.conn)
			if w.active == 0 {
				missing[key]--
			}
		}
	}
	p.mu.Unlock()
	if count == nil {
		return nil
	}
	pressed := false
	for key, all := range conns {
		waiting := 0
		for _, c := range all {
			n, held := count(c)
			pressed = pressed || n > 1
			waiting += held
		}
		if waiting > 0 {
			missing[key] += waiting + 1
		}
	}
	if pressed {
		p.mu.Lock()
		p.pressed = true
		p.mu.Unlock()
	}
	return missing
}
