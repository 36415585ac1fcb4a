package idp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// Store keeps what must survive a restart. Its parts are grouped by noun. Every
// method is atomic and safe for concurrent use, times have millisecond precision,
// and secrets come in as digests only. Removing a user or a client removes all
// that hangs on it. Package storetest is the contract, executable.
type Store interface {
	Users() UserStore
	Sessions() SessionStore
	Clients() ClientStore
	Consents() ConsentStore
	Tokens() TokenStore
	Devices() DeviceStore
	Factors() FactorStore
	Keys() KeyStore

	// Sweep removes at most s.Limit rows of each kind that time has made worthless
	// and returns how many it removed.
	Sweep(ctx context.Context, s Sweep) (int, error)

	// Snapshot writes the whole store as it is at one moment to a new file, which OpenStore opens, while all goes on. A
	// store that is a database server's answers ErrElsewhere.
	Snapshot(ctx context.Context, file string) error

	// Shared tells whether other processes may write to it too.
	Shared() bool
	Close() error
}

// What a Store answers when it cannot do what it was asked to.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrSpent    = errors.New("used already")
	ErrFull     = errors.New("full")

	ErrElsewhere = errors.New("it is in a database server, which has means of its own for that")
)

// Digest is the SHA-256 of a secret: all that the store knows of it.
type Digest [sha256.Size]byte

// DigestOf hashes a token, code, cookie or client secret. They carry at least 128
// random bits, so that a plain hash is enough; passwords are hashed elsewhere.
func DigestOf(secret string) Digest {
	var buf [128]byte // keeps the usual secret off the heap
	if len(secret) > len(buf) {
		return sha256.Sum256([]byte(secret))
	}
	return sha256.Sum256(buf[:copy(buf[:], secret)])
}

// Sweep says what is old.
type Sweep struct {
	Now          time.Time // rows that expired before are removed
	UnusedBefore time.Time // clients registered before, that nobody signed in to, are removed
	SaltBefore   time.Time // refresh tokens used before forget how to derive their successor
	Limit        int
}

// User is a person who can sign in, or a service that cannot. A person's ID has the form
// usr_…, a service's svc_…, and neither has a colon. A service's name begins with "service:".
type User struct {
	ID       string
	Name     string    // of somebody a provider vouches for, the e-mail address
	Provider string    // the NAME of [auth.providers.NAME] that vouches for them; "" for mcpd's own people
	Subject  string    // who they are there
	Groups   []string  // that they were in when the provider was last asked; sorted. Shared: not to be changed
	Seen     time.Time // when that was
	Created  time.Time
}

// Service reports whether a user is no person but a program that acts in its own name.
func (u User) Service() bool { return strings.HasPrefix(u.ID, "svc_") }

// Account is a user with the encoded argon2id hash of the password; "" means
// that no password opens it.
type Account struct {
	User
	Password string
}

// Identity is who somebody is at a provider. Each is of one user.
type Identity struct {
	Provider string
	Subject  string
	UserID   string
	Name     string // the e-mail address there, as it was first
	Created  time.Time
}

// key names an identity in a form.
func (id Identity) key() string {
	d := DigestOf(id.Provider + "\n" + id.Subject)
	return hex.EncodeToString(d[:16])
}

// UserStore keeps people. Names are unique without regard to case. Whom a provider vouches for has that identity from the beginning.
type UserStore interface {
	Create(ctx context.Context, a Account) error                              // ErrExists
	ByID(ctx context.Context, id string) (Account, error)                     // ErrNotFound
	ByName(ctx context.Context, name string) (Account, error)                 // ErrNotFound
	BySubject(ctx context.Context, provider, subject string) (Account, error) // by any of their identities; ErrNotFound
	List(ctx context.Context) ([]User, error)                                 // by name
	Update(ctx context.Context, u User) error                                 // Name, Groups and Seen; ErrNotFound, ErrExists
	SetPassword(ctx context.Context, id string, encoded string) error         // ends the user's sessions and links; ErrNotFound
	SignOut(ctx context.Context, id string) error                             // ends sessions, links, codes and tokens, everywhere; ErrNotFound
	Delete(ctx context.Context, id string) error                              // with sessions, links, consents, codes and tokens; ErrNotFound

	Link(ctx context.Context, id Identity, limit int) error            // ErrExists; ErrFull when the user has limit; ErrNotFound without the user
	Identities(ctx context.Context, userID string) ([]Identity, error) // oldest first
	SetVoucher(ctx context.Context, id, sealed string) error           // ErrNotFound
	Voucher(ctx context.Context, id string) (string, error)            // ErrNotFound
	Unlink(ctx context.Context, id Identity) error                     // of its user; ErrNotFound
}

// Session is a signed-in browser.
type Session struct {
	Hash     Digest
	User     User
	AuthTime time.Time // when the person proved who they are
	Expires  time.Time
	Method   string // how: password, passkey, link, or a provider's name
	Agent    string // the browser, as it calls itself
}

// Link is a one-time sign-in link.
type Link struct {
	Hash    Digest
	User    User
	Expires time.Time
}

// SessionStore keeps signed-in browsers and the links that sign one in. Expired ones are not found.
type SessionStore interface {
	Put(ctx context.Context, s Session) error // ErrNotFound without the user
	Get(ctx context.Context, hash Digest, now time.Time) (Session, error)
	Of(ctx context.Context, userID string, now time.Time) ([]Session, error) // newest first
	Delete(ctx context.Context, hash Digest) error
	DeleteOf(ctx context.Context, userID string) error
	PutLink(ctx context.Context, l Link) error
	Link(ctx context.Context, hash Digest, now time.Time) (Link, error)
	TakeLink(ctx context.Context, hash Digest, now time.Time) (Link, error) // one taker only; the rest: ErrNotFound
}

// ClientKind is how a client became known.
type ClientKind string

// The kinds of clients.
const (
	Registered ClientKind = "registered" // by itself (RFC 7591)
	Documented ClientKind = "documented" // by the document at its URL
	Configured ClientKind = "configured" // by the operator
)

// Client is an OAuth client.
type Client struct {
	ID           string
	Kind         ClientKind
	Name         string
	RedirectURIs []string
	LogoutURIs   []string // where a browser may go after signing out
	AuthMethod   string   // none, client_secret_basic, client_secret_post or private_key_jwt
	Secret       Digest   // of a client with a secret
	Keys         []byte   // of a client that signs: a set of keys (RFC 7517), or
	KeysURI      string   // where it is
	Manage       Digest   // of the registration access token (RFC 7592)
	URI          string   // the client's home page, as it says
	SoftwareID   string
	AppType      string   // application_type as it says: native, web or ""
	Service      bool     // may get tokens in its own name
	Introspects  bool     // may ask about any token
	Exchange     []string // globs of the servers between which it may exchange tokens
	Created      time.Time
	Used         time.Time // zero until somebody has signed in to it
	Fresh        time.Time // of a documented one: until when its document need not be fetched again
}

// ClientStore keeps clients.
type ClientStore interface {
	// Create adds a client. When there are limit clients, the oldest unused one makes room; ErrFull when none is unused.
	Create(ctx context.Context, c Client, limit int) error // ErrExists
	Update(ctx context.Context, c Client) error            // all but Kind, Created and Used; ErrNotFound
	Get(ctx context.Context, id string) (Client, error)    // ErrNotFound
	List(ctx context.Context, kind ClientKind) ([]Client, error)
	Use(ctx context.Context, id string, now time.Time) error
	Delete(ctx context.Context, id string) error // with its codes, consents and tokens; ErrNotFound
}

// Consent is what a person has agreed that a client may do at a server.
type Consent struct {
	UserID, ClientID, Server string

	Scopes  []string
	Digest  Digest // of what the person was shown of the client
	Created time.Time
}

// ConsentStore remembers consents, one for each user, client and server.
type ConsentStore interface {
	Put(ctx context.Context, c Consent) error
	Get(ctx context.Context, userID, clientID, server string) (Consent, error) // ErrNotFound
	Delete(ctx context.Context, userID, clientID, server string) error
}

// Code is an authorization code until it is redeemed, and then its tombstone until it expires.
type Code struct {
	Hash        Digest
	Family      Family // of the tokens it will give
	RedirectURI string
	Challenge   string // PKCE, S256
	Nonce       string
	Expires     time.Time
	Used        time.Time
}

// Family is all tokens that came from one authorization: one user, one client, one server.
type Family struct {
	ID       string
	UserID   string
	Parent   string // of tokens had in exchange: the family of the token they were had for, with which they end
	ClientID string // "" for a personal token
	Server   string
	Resource string // the audience
	Scopes   []string
	Label    string   // of a personal token
	Tools    []string // globs of the tools that a personal token may be used for; none: all
	AuthTime time.Time
	Created  time.Time
	Expires  time.Time // when the last token in it does
}

// grant is what ends together: a family, with all that was had for its tokens.
func (f Family) grant() string {
	if f.Parent != "" {
		return f.Parent
	}
	return f.ID
}

// Access is an access token.
type Access struct {
	Hash    Digest
	Family  string
	Scopes  []string
	Created time.Time
	Expires time.Time
}

// Refresh is a refresh token. A used one stays until it expires, so that its reuse is noticed.
type Refresh struct {
	Hash    Digest
	Family  string
	Expires time.Time
	Used    time.Time
	Salt    []byte // of a used one, within the grace: derives its successor from the token itself
}

// Holder is a live access token with all that a check of it needs.
type Holder struct {
	Access
	Family     Family
	User       User
	ClientName string
}

// Connection is a family as its owner sees it.
type Connection struct {
	Family
	ClientName string
}

// Personal is a personal token as an administrator sees it.
type Personal struct {
	Family
	Hash Digest
	User User
}

// TokenStore keeps codes and tokens. The methods that spend something take it and
// store what it was spent for in one transaction, so that nothing can be had twice
// and nothing is lost after it was answered.
type TokenStore interface {
	PutCode(ctx context.Context, c Code) error
	Code(ctx context.Context, hash Digest) (Code, error)                               // used ones too; ErrNotFound
	BurnCode(ctx context.Context, hash Digest, now time.Time) error                    // no token for it any more; ErrSpent
	Redeem(ctx context.Context, hash Digest, now time.Time, a Access, r Refresh) error // makes the family; ErrSpent, ErrNotFound

	Refresh(ctx context.Context, hash Digest) (Refresh, Family, error)                                // used ones too; ErrNotFound
	Rotate(ctx context.Context, old Digest, now time.Time, salt []byte, next Refresh, a Access) error // ErrSpent, ErrNotFound

	Spend(ctx context.Context, hash Digest, expires time.Time) error // something that is good once: ErrSpent the second time

	PutFamily(ctx context.Context, f Family, a Access) error // a personal token
	PutAccess(ctx context.Context, a Access) error           // one more in a family; ErrNotFound
	Access(ctx context.Context, hash Digest) (Holder, error) // expired ones too; ErrNotFound
	DeleteAccess(ctx context.Context, hash Digest) error
	DeleteFamily(ctx context.Context, id string) error
	Connections(ctx context.Context, userID string, now time.Time) ([]Connection, error) // newest first
	Personal(ctx context.Context, now time.Time) ([]Personal, error)                     // of everybody, newest first
}

// Device is a sign-in that a program without a browser asked for (RFC 8628), and then its tombstone until it expires.
type Device struct {
	Hash     Digest // of the device code, which the program has
	UserCode string // which the person types
	Family   Family // of the tokens it will give; UserID and AuthTime are there when somebody has agreed
	Expires  time.Time
	State    DeviceState
}

// DeviceState is how far such a sign-in is.
type DeviceState int

// The states of a Device.
const (
	DeviceWaiting DeviceState = iota
	DeviceAgreed
	DeviceDenied
	DeviceRedeemed
)

// DeviceStore keeps sign-ins of programs without a browser.
type DeviceStore interface {
	Put(ctx context.Context, d Device, limit int) error                                        // ErrExists: the user code; ErrFull
	Get(ctx context.Context, hash Digest) (Device, error)                                      // ErrNotFound
	ByUserCode(ctx context.Context, code string) (Device, error)                               // ErrNotFound
	Decide(ctx context.Context, hash Digest, s DeviceState, userID string, at time.Time) error // of one that waits; ErrSpent
	Redeem(ctx context.Context, hash Digest, a Access, r Refresh) error                        // one that was agreed to, makes the family; ErrSpent, ErrNotFound
}

// Factor is something that a person proves who they are with, beside a password.
type Factor struct {
	ID      string
	UserID  string
	Kind    FactorKind
	Label   string
	Handle  string // of a passkey: the credential's id; unique
	Data    []byte // of a passkey: its public key and more, as JSON; of an app: the secret; of recovery codes: the digests of those left
	Step    int64  // of an app: the time step of the last code that was used; of others: how often they were
	Created time.Time
	Used    time.Time
}

// FactorKind is what a Factor is.
type FactorKind string

// The kinds of factors.
const (
	Passkey FactorKind = "passkey" // WebAuthn
	TOTP    FactorKind = "totp"    // codes of an app (RFC 6238)

	Recovery FactorKind = "recovery" // codes on paper, for who has lost the others
)

// FactorStore keeps what people prove who they are with.
type FactorStore interface {
	Put(ctx context.Context, f Factor, limit int) error                               // ErrExists; ErrFull when the user has limit; ErrNotFound without the user
	Of(ctx context.Context, userID string) ([]Factor, error)                          // oldest first
	ByHandle(ctx context.Context, handle string) (Factor, error)                      // ErrNotFound
	Use(ctx context.Context, id string, step int64, data []byte, now time.Time) error // ErrSpent unless the step is a later one; ErrNotFound
	Delete(ctx context.Context, userID, id string) error                              // ErrNotFound
	DeleteOf(ctx context.Context, userID string) error
}

// Key is a secret of the issuer itself.
type Key struct {
	ID      string
	Kind    string
	Secret  []byte
	Created time.Time
}

// KeyStore keeps the issuer's own keys.
type KeyStore interface {
	List(ctx context.Context, kind string) ([]Key, error) // newest first
	Put(ctx context.Context, k Key) error
	Delete(ctx context.Context, id string) error
}
