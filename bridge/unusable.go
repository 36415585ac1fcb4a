package bridge

import (
	"bytes"
	"fmt"

	"go.uber.org/zap"
)

// answerless fails the call with this id: its answer came and is of no use.
func (c *Conn) answerless(id uint64, why error) {
	c.calls.deliver(id, &frame{kind: frameDead, err: why})
}

// unusable handles a line that is no message. Servers print banners, warnings
// and stack traces on their standard output: those are noise, not an end. But a
// broken answer is all the answer there will be, and its call need not wait.
func (c *Conn) unusable(line []byte, why error) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	c.s.stats.noise.Add(1)
	if c.noise.Add(1) <= 10 {
		c.s.log.Warn("server wrote a line that is no message", zap.Int("bytes", len(line)), zap.Error(why))
	}
	if !bytes.Contains(line, []byte(`"jsonrpc"`)) { // servers log JSON, too
		return
	}
	if id, answer := answerOf(line, line); answer {
		c.answerless(id, fmt.Errorf("the server's answer is of no use: %w", why))
	}
}

// overlong handles a line above the limit, of which line has the two ends. An
// answer fails the call it belongs to and no other; what else it may be is
// noise. An answer to nobody knows whom ends the connection: some call would
// wait for it in vain.
func (c *Conn) overlong(line *buffer) error {
	head, tail := line.b[:keptEnd], line.b[len(line.b)-keptEnd:]
	id, answer := answerOf(head, tail)
	c.s.bufs.put(line)
	limit := c.s.o.Config.Limits.Line
	c.s.stats.noise.Add(1)
	if c.noise.Add(1) <= 10 {
		c.s.log.Warn("server wrote a line above the limit", zap.Int("limit", limit))
	}
	if answer && id == 0 {
		return errLine
	}
	if answer {
		c.answerless(id, fmt.Errorf("the server's answer is longer than limits.line, %d bytes", limit))
	}
	return nil
}

// answerOf tells from the two ends of a line whether it can be a response, and
// to which call, 0 if they do not say. The id is at either end of a message:
// its members' order is the server's choice, and a result is one of them.
func answerOf(head, tail []byte) (id uint64, answer bool) {
	s := scanner{b: head}
	if s.peek() != '{' {
		return 0, false
	}
	s.open()
	for first := true; ; first = false {
		k, more, ok := s.key(first)
		if !ok || !more {
			return lastID(tail), true
		}
		s.space()
		switch string(keyText(head, k)) {
		case "method":
			return 0, false
		case "result", "error":
			if id == 0 {
				id = lastID(tail)
			}
			return id, true
		}
		v, ok := s.spanned()
		if !ok {
			return lastID(tail), true
		}
		if string(keyText(head, k)) == "id" {
			id, _ = answerID(head, v)
		}
	}
}

// lastID reads the id of a message that ends with it. The quotes of a key
// within a string would be escaped, and the last brace is the message's.
func lastID(tail []byte) uint64 {
	tail = bytes.TrimRight(tail, " \t\r")
	i := bytes.LastIndex(tail, []byte(`,"id":`))
	if i < 0 || tail[len(tail)-1] != '}' {
		return 0
	}
	id, _ := answerID(tail, span{i + len(`,"id":`), len(tail) - 1})
	return id
}
