package router

import "context"

// Principal is who is calling, as the token says.
type Principal struct {
	ID     string   // opaque and stable; what sessions and workers belong to
	Name   string   // for people and logs
	Client string   // the program the person signed in with
	Scopes []string // what the token may be used for
	Tools  []string // globs of the tools that it may be used for; none: all
	Fixed  bool     // nobody can be asked for more scopes: it is a personal token
	Grant  string   // what the token was given for: all tokens of one grant end together
}

// PrincipalOf returns who is calling. ok is false on public routes and where
// sign-in is switched off.
func PrincipalOf(ctx context.Context) (p Principal, ok bool) {
	x := exchangeOf(ctx)
	if x == nil || x.principal == nil {
		return Principal{}, false
	}
	return *x.principal, true
}
