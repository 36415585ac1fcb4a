package idp

import "testing"

// The order of a sign-in.
func TestNext(t *testing.T) {
	session := &Session{User: User{ID: "usr_1"}, AuthTime: at(1000)}
	for name, c := range map[string]struct {
		flow flow
		want step
	}{
		"nobody":                   {flow{req: &request{MaxAge: -1}}, stepSignIn},
		"nobody, agreed":           {flow{req: &request{MaxAge: -1}, allowed: true, agreed: true}, stepSignIn},
		"signed in before":         {flow{req: &request{MaxAge: 0, Created: 2000}, session: session, allowed: true, agreed: true}, stepSignIn},
		"signed in since":          {flow{req: &request{MaxAge: 0, Created: 1000}, session: session, allowed: true, agreed: true}, stepIssue},
		"signed in lately":         {flow{req: &request{MaxAge: 1, Created: 2000}, session: session, allowed: true, agreed: true}, stepIssue},
		"somebody else":            {flow{req: &request{MaxAge: -1, Hint: "usr_2"}, session: session, allowed: true, agreed: true}, stepSignIn},
		"not allowed":              {flow{req: &request{MaxAge: -1}, session: session, agreed: true}, stepRefused},
		"not agreed":               {flow{req: &request{MaxAge: -1}, session: session, allowed: true}, stepAsk},
		"agreed, but asked for it": {flow{req: &request{MaxAge: -1, Ask: true}, session: session, allowed: true, agreed: true}, stepAsk},
		"all is there":             {flow{req: &request{MaxAge: -1, Hint: "usr_1"}, session: session, allowed: true, agreed: true}, stepIssue},
	} {
		if got := c.flow.next(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
