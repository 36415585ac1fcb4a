package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain\n": "plain", "dos\r\n": "dos", "tab\there": "tab here", "bell\a": "bell",
		"\x1b[31mred\x1b[0m": "red", "\x1b]0;title\x07text": "text", "\x1b]8;;u\x1b\\link": "link",
		"\x1b[": "", "\x1bc reset": " reset", "bad \xff\xfe": "bad ��", "é ü 世界": "é ü 世界",
		"turn \u202eback": "turn back", "": "",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMask(t *testing.T) {
	m := newMasker([]string{"s3cr/t+", "s3cr/t+longer", "abc", "", "line one\nline two", `quo"te`})
	for in, want := range map[string]string{
		"key=s3cr/t+ end": "key=*** end", "s3cr/t+longer": "***", "abc": "abc", "at line two.": "at ***.",
		"u=" + url.QueryEscape("s3cr/t+"): "u=***", `{"k":"quo\"te"}`: `{"k":"***"}`,
	} {
		if got := m.mask(in); got != want {
			t.Errorf("mask(%q) = %q, want %q", in, got, want)
		}
	}
	if got := newMasker(nil).mask("x"); got != "x" {
		t.Error(got)
	}
}

func pumped(secrets []string, input string) (*output, []Line) {
	r := &ring{lines: 100, bytes: 1 << 20}
	o := newOutput(r, newMasker(secrets), 7)
	o.pump(strings.NewReader(input))
	return o, LogReader{r}.Tail(1000)
}

func TestOutput(t *testing.T) {
	o, lines := pumped([]string{"hunter2"}, "one\n\n"+strings.Repeat("x", lineLimit-3)+"hunter2"+strings.Repeat("y", 9999)+"\nlast hunter2")
	if len(lines) != 4 || lines[0].Text != "one" || lines[0].Worker != 7 || lines[3].Text != "last ***" {
		t.Fatalf("%+v", lines)
	}
	// The secret lies across the cut: nothing of it is left.
	if got := lines[2].Text; !strings.HasSuffix(got, "x***"+cutMark) {
		t.Errorf("cut line ends in %q", got[len(got)-20:])
	}
	if got := o.last(time.Time{}); !strings.HasSuffix(got, "/ last ***") || len(got) > tailLimit+len(ellipsis) {
		t.Errorf("last words: %q", got)
	}
}

func TestOutputFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no second passes
		_, lines := pumped(nil, strings.Repeat("x\n", lineBurst+500))
		if got := lines[len(lines)-1].Text; got != "(500 lines left out: more than 200 a second)" {
			t.Errorf("got %q", got)
		}
	})
}

func TestRing(t *testing.T) {
	r := &ring{lines: 3, bytes: 10}
	logs := LogReader{r}
	text := func(n int) (s string) {
		for _, l := range logs.Tail(n) {
			s += l.Text + ","
		}
		return s
	}
	for i := range 20 {
		r.add(Line{Text: fmt.Sprint(i)})
	}
	if got := text(10); got != "17,18,19," {
		t.Error(got)
	}
	if got := text(2); got != "18,19," {
		t.Error(got)
	}
	if got := text(-1) + text(0); got != "" {
		t.Error(got)
	}
	r.add(Line{Text: "long enough"}) // more than all bytes: alone
	if got := text(10); got != "long enough," {
		t.Error(got)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ring{lines: 100, bytes: 1 << 20}
		for i := range 5 {
			r.add(Line{Text: fmt.Sprint(i)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string)
		for _, lines := range []func(func(Line) bool){LogReader{r}.FollowTail(ctx, 2), LogReader{r}.Follow(ctx)} {
			go func() { // ends with ctx
				var s string
				for l := range lines {
					s += l.Text + ","
				}
				got <- s
			}()
		}
		synctest.Wait()
		r.add(Line{Text: "5"})
		synctest.Wait()
		r.add(Line{Text: "6"})
		synctest.Wait()
		cancel()
		if a, b := <-got, <-got; a+b != "3,4,5,6,5,6," && b+a != "3,4,5,6,5,6," {
			t.Errorf("%q %q", a, b)
		}
	})
}

func TestHourly(t *testing.T) {
	var h hourly
	begin := time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC)
	for i := range 180 {
		h.add(begin.Add(time.Duration(i) * time.Minute))
	}
	if h.all != 180 || h.lastHour(begin.Add(179*time.Minute)) != 60 || h.lastHour(begin.Add(209*time.Minute)) != 30 {
		t.Errorf("%d, %d", h.all, h.lastHour(begin.Add(209*time.Minute)))
	}
}

// What a child writes, whatever it is, comes out as short lines of harmless text without the secret.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{"plain\nline", "hunter2hunter2", "\x1b[31mhun\x1b[0mter2\n", "\xff\xfe\n\n", "hun\x00ter2", strings.Repeat("hunter", 500) + "2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		const secret = "hunter2"
		o, lines := pumped([]string{secret}, in)
		lines = append(lines, Line{Text: o.last(time.Time{})})
		for _, l := range lines {
			if strings.Contains(l.Text, secret) {
				t.Errorf("the secret is in %q", l.Text)
			}
			if !utf8.ValidString(l.Text) || len(l.Text) > lineLimit+len(cutMark) || strings.ContainsFunc(l.Text, unicode.IsControl) {
				t.Errorf("%q", l.Text)
			}
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("s3cret", "a s3cret b")
	f.Fuzz(func(t *testing.T, secret, text string) {
		secret = strings.TrimSpace(strings.ReplaceAll(secret, "\n", ""))
		if len(secret) < shortest || strings.Contains(masked, secret) || strings.Contains(text, "*") || strings.Contains(secret, "*") {
			t.Skip()
		}
		quoted, _ := json.Marshal(secret)
		for _, form := range []string{secret, url.QueryEscape(secret), string(quoted[1 : len(quoted)-1])} {
			if got := newMasker([]string{secret}).mask(text + form + text); strings.Contains(got, secret) {
				t.Errorf("%q is left in %q", secret, got)
			}
		}
	})
}

// Who writes without an end is slowed down to what is read for long, and what it said last is known all the same.
func TestFloodIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		o := newOutput(&ring{lines: 10, bytes: 1000}, newMasker(nil), 1)
		began := time.Now()
		go func() { // ends when all is written
			line := []byte(strings.Repeat("x", 1023) + "\n")
			for range (byteBurst + 10*byteRate) / len(line) {
				_, _ = w.Write(line)
			}
			_, _ = io.WriteString(w, "the end\n")
			_ = w.Close()
		}()
		o.pump(r)
		if took := time.Since(began).Round(time.Second); took != 10*time.Second {
			t.Errorf("took %v, want 10s", took)
		}
		if last := o.last(time.Time{}); !strings.HasSuffix(last, "the end") {
			t.Errorf("said last %q", last)
		}
	})
}
