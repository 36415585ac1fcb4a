package bridge

import (
	"net/http"
	"strings"
	"time"
)

// primed tells whether the client knows what to do with event ids and an
// event without data. Clients of older revisions choke on the latter.
func (x *exchange) primed() bool {
	return x.legacy.x != nil && x.legacy.session.version >= "2025-11-25"
}

// resumable tells whether the response to a call can be had again: only as a stream.
func (x *exchange) resumable() bool {
	return x.primed() && x.call.method.name != "" && x.events && x.collect == nil
}

// patience is how long a call may be silent at first. One that takes longer
// becomes a stream, so that its client has an id to come back with.
func (x *exchange) patience(now, limit time.Time) time.Duration {
	d := x.s.pause(now, limit)
	if x.resumable() && !x.streaming {
		d = min(d, x.s.primeAfter)
	}
	return d
}

// expired ends a call whose time is over. Who may come back for the answer is
// told why there is none.
func (x *exchange) expired(limit time.Time, asking bool) Reply {
	if x.gone && x.s.stopping.Load() {
		return Reply{fault: errStopping}
	}
	if x.gone && x.track != nil && time.Now().Before(limit) {
		return Reply{fault: internal("the call was cancelled: its client was away for " + x.s.grace.String())}
	}
	why := x.s.timedOut()
	if asking {
		why = errUnanswered
	}
	return Reply{gone: x.gone && x.track == nil, fault: why}
}

// prime makes the stream of a call resumable.
func (x *exchange) prime() {
	if x.track != nil || !x.resumable() {
		return
	}
	t := newTrack(ofCall, &x.legacy.session, x.id)
	if x.reader = x.s.replays.open(t); x.reader == nil {
		return // too many: this one goes without
	}
	x.track = t
	x.push(t.priming(nil))
}

// record writes an event that can be had again.
func (x *exchange) record(p *pieces) {
	b, mine := x.s.replays.add(x.track, x.reader, p)
	if !mine {
		x.lose()
	}
	x.push(b)
}

// lose notes that nobody reads this response any more.
func (x *exchange) lose() {
	if !x.gone {
		x.gone, x.left = true, time.Now()
	}
}

// until is when the call must be over: its limit, or earlier when its client
// left and does not come back for the rest of the stream.
func (x *exchange) until(limit time.Time) time.Time {
	if !x.gone {
		return limit
	}
	if x.s.stopping.Load() {
		return x.left // there is nothing to come back to
	}
	if x.track != nil {
		if when, _ := x.s.replays.had(x.track, x.reader); when.After(x.left) {
			x.left = when
		}
	}
	return earlier(limit, x.left.Add(x.s.grace))
}

// finishTrack ends the stream of a call; what the client did not get it can fetch.
func (x *exchange) finishTrack() {
	if x.track != nil && x.track.call != nil {
		x.s.replays.end(x.track, x.reader)
	}
}

// resume gives a client the rest of a stream (MCP 2025-11-25, transports:
// always by GET, whatever the stream began with). It reports whether there was
// anything to resume.
func (x *exchange) resume(last string) bool {
	name, seq, ok := parseEvent(last)
	if !ok {
		return false
	}
	t, r := x.s.replays.take(&x.legacy.session, name)
	if t == nil {
		if strings.HasPrefix(name, ofSession) {
			return false // nothing to make good but to begin anew
		}
		x.refuse(&fault{http.StatusBadRequest, codeInvalidRequest, "this stream cannot be resumed: it is too long ago, or was lost in a restart", nil})
		return true
	}
	x.detach(func() { x.relay(t, r, seq) })
	return true
}

// stand gives a session's own stream a track, if its client can resume one.
// What is announced goes through it, and so outlives the connection.
func (x *exchange) stand(w *watcher) *reader {
	if !x.primed() {
		return nil
	}
	t := newTrack(ofSession, &x.legacy.session, nil)
	t.w = w
	r := x.s.replays.open(t)
	if r != nil {
		w.track, w.replays = t, &x.s.replays
	}
	return r
}

// own writes a session's own stream from its beginning.
func (x *exchange) own(w *watcher, r *reader) {
	x.rec.Status = http.StatusOK
	x.stream()
	x.push(w.track.priming(nil))
	x.relay(w.track, r, 0)
}

// relay writes what a track has after seq and goes on with what is added,
// until the stream ends, the client leaves, or comes again on another connection.
func (x *exchange) relay(t *track, r *reader, seq uint64) {
	defer x.s.replays.leave(t, r)
	x.rec.Status = http.StatusOK
	x.stream()
	if seq > 0 || t.call != nil {
		x.push(comment) // the headers go out although there may be nothing to say
	}
	tick := time.NewTicker(x.s.keepAlive)
	defer tick.Stop()
	defer x.endStream()
	for !x.gone {
		b, at, over, torn := x.s.replays.after(t, seq)
		if b != nil {
			x.push(b)
			seq = at
			continue
		}
		if over {
			x.lostAnswer(t, torn)
			return
		}
		select {
		case _, mine := <-r.wake:
			if !mine {
				return
			}
		case <-tick.C:
			x.push(comment)
		case <-x.s.closing:
			return
		case <-x.r.Context().Done():
			x.gone = true
		}
	}
}

// lostAnswer tells the truth about an answer that was too large to be kept.
func (x *exchange) lostAnswer(t *track, torn bool) {
	if !torn || t.call == nil {
		return
	}
	f := internal("the answer was too large to be kept while the connection was broken; the call itself was completed")
	var p pieces
	p.add(f.append(nil, t.call))
	x.event(&p)
}
