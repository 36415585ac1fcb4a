package router

import (
	"context"
	"strings"
)

// challenges are the WWW-Authenticate values of one resource, made once per table.
// Each names the metadata document at its absolute, path-inserted URL (RFC 9728
// §5.1) and the scopes to ask for, so that a client needs no other hint.
type challenges struct {
	none  []string // no credentials: no error attribute (RFC 6750 §3.1)
	bad   []string // invalid_token
	scope []string // insufficient_scope
	twice []string // invalid_request

	metadata string
}

func newChallenges(metadata string, scopes []string) challenges {
	tail := `resource_metadata=` + quoted(metadata)
	if len(scopes) > 0 {
		tail += `, scope=` + quoted(strings.Join(scopes, " "))
	}
	with := func(code, description string) []string {
		return []string{`Bearer error="` + code + `", error_description=` + quoted(description) + `, ` + tail}
	}
	return challenges{
		metadata: metadata,

		none:  []string{"Bearer " + tail},
		bad:   with("invalid_token", "the token is unknown, expired or revoked, or it was made for another server"),
		scope: with("insufficient_scope", "the token does not cover the scope that this server needs"),
		twice: with("invalid_request", "send one Authorization header"),
	}
}

// StepUp is the WWW-Authenticate value of a 403 for a request behind the gate that takes scopes which
// its token does not have: all that it takes, so that the client need not ask twice (MCP 2026-07-28,
// authorization: scope challenge). It is "" where ctx is of another origin.
func StepUp(ctx context.Context, scopes []string) string {
	x := exchangeOf(ctx)
	if x == nil || x.metadata == "" {
		return ""
	}
	return newChallenges(x.metadata, scopes).scope[0]
}

// quoted is a quoted-string of RFC 9110 §5.6.4.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
