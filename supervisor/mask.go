package supervisor

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// masked stands where a secret was.
const masked = "***"

// shortest is the length from which a value is masked. A shorter one occurs in harmless text all
// the time: masking it would make logs unreadable and tell where it occurs besides.
const shortest = 4

// masker takes secrets out of text. It is safe for concurrent use.
type masker struct {
	replace *strings.Replacer // nil when there is nothing to mask
	longest int               // bytes of the longest form of a secret
}

// newMasker masks the values, each line of those that have several (a PEM key is printed line by
// line), and the two forms in which programs usually show a value: inside JSON and inside a URL.
func newMasker(secrets []string) *masker {
	var forms []string
	for _, secret := range secrets {
		for _, line := range strings.Split(secret, "\n") {
			line = strings.TrimSpace(line)
			if len(line) >= shortest {
				quoted, _ := json.Marshal(line) // a string can always be encoded
				forms = append(forms, line, string(quoted[1:len(quoted)-1]), url.QueryEscape(line), url.PathEscape(line))
			}
		}
	}
	if len(forms) == 0 {
		return &masker{}
	}
	// The longest first: where one secret begins with another, all of it has to go.
	slices.SortFunc(forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	forms = slices.Compact(forms)
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, masked)
	}
	return &masker{replace: strings.NewReplacer(pairs...), longest: len(forms[0])}
}

func (m *masker) mask(text string) string {
	if m.replace == nil {
		return text
	}
	return m.replace.Replace(text)
}
