package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/oauth2"
)

// gitHub is a provider of OAuth without OpenID Connect: who somebody is comes from its API.
type gitHub struct {
	oauth  oauth2.Config
	groups bool
	url    string
	api    string
	client *http.Client
}

func newGitHub(c Config, redirect string, client *http.Client) *gitHub {
	g := &gitHub{
		oauth: oauth2.Config{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret, RedirectURL: redirect, Scopes: []string{"read:user", "user:email"},
			Endpoint: oauth2.Endpoint{AuthURL: c.URL + "/login/oauth/authorize", TokenURL: c.URL + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
		},
		groups: c.Groups != noGroups, url: c.URL, api: gitHubAPI, client: client,
	}
	if c.URL != gitHubURL {
		g.api = c.URL + "/api/v3" // GitHub Enterprise Server
	}
	if g.groups {
		g.oauth.Scopes = append(g.oauth.Scopes, "read:org")
	}
	g.oauth.Scopes = append(g.oauth.Scopes, c.Scopes...)
	return g
}

func (g *gitHub) start(_ context.Context, a Attempt) (string, error) {
	return g.oauth.AuthCodeURL(a.State, oauth2.S256ChallengeOption(a.Verifier), oauth2.SetAuthURLParam("prompt", "select_account")), nil
}

func (g *gitHub) finish(ctx context.Context, a Attempt, code, iss string) (Identity, error) {
	if iss != "" && iss != g.url && iss != g.url+"/login/oauth" {
		return Identity{}, &Refused{Text: "The answer came from somebody else.", cause: fmt.Errorf("iss is %q", iss)}
	}
	token, err := g.oauth.Exchange(context.WithValue(ctx, oauth2.HTTPClient, g.client), code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return Identity{}, refusal(err)
	}
	var user struct {
		ID int64 `json:"id"`
	}
	if err := g.get(ctx, token, "/user", &user); err != nil {
		return Identity{}, err
	}
	if user.ID <= 0 {
		return Identity{}, errors.New("GitHub names no user")
	}
	id := Identity{Subject: strconv.FormatInt(user.ID, 10)} // the login can change hands, the number cannot
	if id.Email, err = g.email(ctx, token); err != nil {
		return Identity{}, err
	}
	if g.groups {
		if id.Groups, err = g.memberships(ctx, token); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
}

func (g *gitHub) email(ctx context.Context, token *oauth2.Token) (string, error) {
	type address struct {
		Email             string
		Primary, Verified bool
	}
	all, err := list[address](ctx, g, token, "/user/emails")
	for _, a := range all {
		if a.Primary && a.Verified {
			return a.Email, nil
		}
	}
	if err == nil {
		err = &Refused{Text: "Your primary e-mail address there is not verified."}
	}
	return "", err
}

// memberships are organisations, and their teams as organisation/team.
func (g *gitHub) memberships(ctx context.Context, token *oauth2.Token) ([]string, error) {
	type organization struct{ Login string }
	type team struct {
		Slug         string
		Organization organization
	}
	orgs, err := list[organization](ctx, g, token, "/user/orgs")
	if err != nil {
		return nil, err
	}
	teams, err := list[team](ctx, g, token, "/user/teams")
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, o := range orgs {
		groups = append(groups, o.Login)
	}
	for _, t := range teams {
		groups = append(groups, t.Organization.Login+"/"+t.Slug)
	}
	return groups, nil
}

// list reads a list to its end, within reason.
func list[T any](ctx context.Context, g *gitHub, token *oauth2.Token, path string) (all []T, err error) {
	const size, pages = 100, 10
	for n := 1; n <= pages; n++ {
		var some []T
		if err := g.get(ctx, token, fmt.Sprintf("%s?per_page=%d&page=%d", path, size, n), &some); err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < size {
			break
		}
	}
	return all, nil
}

func (g *gitHub) get(ctx context.Context, token *oauth2.Token, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.api+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	token.SetAuthHeader(r)
	resp, err := g.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound {
		return &Refused{Text: "It does not let mcpd see who you are.", cause: fmt.Errorf("%s answers %s", path, resp.Status)}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}
