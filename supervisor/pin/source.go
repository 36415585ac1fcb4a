package pin

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
)

// What of a server's environment says where its packages come from, without what only lets it in there.
var (
	npmSource  = regexp.MustCompile(`(?i)^npm_config_(.*registry|userconfig|globalconfig)$`)
	uvSource   = regexp.MustCompile(`^UV_(INDEX.*|DEFAULT_INDEX|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|CONFIG_FILE|NO_CONFIG)$`)
	uvAccount  = regexp.MustCompile(`^UV_INDEX_.*_(USERNAME|PASSWORD)$`)
	urlAccount = regexp.MustCompile(`//[^/@\s]*@`)
)

// source names where the packages of a wish come from, "" where nothing but the machine says so. A name means one thing in
// one registry and another in the next: what came from the one is no answer for who asks the other.
func (w Wish) source() string {
	said := map[string]string{}
	for _, kv := range w.Environ { // the last one counts
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "HOME": // where npm and uv look for their configuration
			if home, _ := os.UserHomeDir(); value != home {
				said[name] = value
			}
		case w.Request.Python && uvSource.MatchString(name) && !uvAccount.MatchString(name),
			!w.Request.Python && npmSource.MatchString(name):
			said[name] = urlAccount.ReplaceAllString(value, "//")
		}
	}
	if len(said) == 0 {
		return ""
	}
	lines := make([]string, 0, len(said))
	for name, value := range said {
		lines = append(lines, name+"="+value)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// answers tells whether an entry is for the same wish.
func (e Entry) answers(w Wish) bool {
	return e.Request == w.Request.String() && e.Now.Source == w.source()
}
