package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSecretFile bounds what ${file:…} and ${credential:…} read.
const maxSecretFile = 1 << 20

// expander replaces ${…} inside the strings of the configuration file. It works on one value at a
// time, after the file was parsed, so nothing that comes in can become TOML.
//
//	${NAME}             the environment variable; unset is an error
//	${NAME:-text}       text where the variable is unset or empty
//	${file:/path}       the file's content, relative to the configuration file, without its last newline
//	${credential:name}  the file of that name in $CREDENTIALS_DIRECTORY (systemd LoadCredential=)
//	$$                  a dollar sign
type expander struct {
	dir    string // of the configuration file
	lookup func(name string) (string, bool)
}

var (
	errLoneDollar = errors.New("has a $ that is neither ${…} nor $$: write ${NAME} to insert a variable, $$ for a dollar sign")
	errOpenBrace  = errors.New("has a ${ without its }")
	errBadInsert  = errors.New("has a ${…} that is none of ${NAME}, ${NAME:-text}, ${file:/path}, ${credential:name}")
)

// outsideError is about something that is not in the file.
type outsideError struct{ error }

// expand returns the text with everything inserted, and what was inserted from outside the file:
// those are the secrets. Its errors complete the sentence "the setting …" and hold no value.
func (e *expander) expand(s string) (text string, secrets []string, err error) {
	if strings.IndexByte(s, '$') < 0 {
		return s, nil, nil
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			b.WriteString(s)
			return b.String(), secrets, nil
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		switch {
		case strings.HasPrefix(s, "$"):
			b.WriteByte('$')
			s = s[1:]
		case strings.HasPrefix(s, "{"):
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return "", nil, errOpenBrace
			}
			value, outside, err := e.insert(s[1:end])
			if err != nil {
				return "", nil, err
			}
			if outside && value != "" {
				secrets = append(secrets, value)
			}
			b.WriteString(value)
			s = s[end+1:]
		case s != "" && isNameStart(s[0]):
			return "", nil, errLoneDollar // most likely meant as a variable, as a shell would take it
		default:
			b.WriteByte('$')
		}
	}
}

// insert works out one ${…}. outside is false for the text behind ":-", which is in the file itself.
func (e *expander) insert(what string) (value string, outside bool, err error) {
	if path, ok := strings.CutPrefix(what, "file:"); ok {
		if path == "" {
			return "", false, errBadInsert
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(e.dir, path)
		}
		value, err = readSecret(path, what)
		return value, true, err
	}
	if name, ok := strings.CutPrefix(what, "credential:"); ok {
		return e.credential(name, what)
	}
	name, otherwise, hasDefault := strings.Cut(what, ":-")
	if !isVariable(name) {
		return "", false, errBadInsert
	}
	value, set := e.lookup(name)
	switch {
	case hasDefault && value == "":
		return otherwise, false, nil
	case !set:
		return "", false, outsideError{fmt.Errorf("needs the environment variable %s, which is not set", name)}
	}
	return value, true, nil
}

func (e *expander) credential(name, what string) (string, bool, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "", false, errBadInsert
	}
	dir, ok := e.lookup("CREDENTIALS_DIRECTORY")
	if !ok || dir == "" {
		return "", false, outsideError{fmt.Errorf("needs ${%s}, but $CREDENTIALS_DIRECTORY is not set: systemd sets it for LoadCredential=%s:…", what, name)}
	}
	value, err := readSecret(filepath.Join(dir, name), what)
	return value, true, err
}

// readSecret reads a small regular file: a named pipe would block the loader, a device never ends.
func readSecret(path, what string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return "", outsideError{fmt.Errorf("needs ${%s}: %w", what, bare(err))}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", outsideError{fmt.Errorf("needs ${%s}: %w", what, bare(err))}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", outsideError{fmt.Errorf("needs ${%s}: %w", what, bare(err))}
	}
	if len(data) > maxSecretFile {
		return "", fmt.Errorf("needs ${%s}, which has more than %d bytes", what, maxSecretFile)
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// bare takes the path off a file error: the sentence around it has it already.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func isNameStart(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isVariable(s string) bool {
	for i := range len(s) {
		if !isNameStart(s[i]) && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}
