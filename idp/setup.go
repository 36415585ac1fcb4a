package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"image/color"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"
	"go.uber.org/zap"
)

// totpSetup is an app for codes that somebody is about to set up. The secret is kept only when a code shows that the app has it.
type totpSetup struct {
	Sealed  string
	Secret  string // as a person types it
	Picture template.HTML
}

type sealedTOTP struct {
	User    string `json:"user"`
	Secret  []byte `json:"secret"`
	Created int64  `json:"created"` // Unix milliseconds
}

const (
	sealedSetup = "setup of an app for codes"
	setupTTL    = 15 * time.Minute
	maxFactors  = 20 // of one person
)

// newSetup begins one, or shows the one again that a mistyped code was for: the app has its secret already.
func (i *Issuer) newSetup(u User, again string) (*totpSetup, error) {
	s, ok := i.openSetup(u, again)
	if !ok {
		s = sealedTOTP{User: u.ID, Secret: newTOTPSecret(), Created: i.now().UnixMilli()}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	picture, err := qrPicture(totpURL(i.host, u.Name, s.Secret))
	if err != nil {
		return nil, err
	}
	text := spellTOTP(s.Secret)
	var groups []string
	for ; len(text) > 4; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return &totpSetup{Sealed: i.keys.seal(sealedSetup, b), Secret: strings.Join(append(groups, text), " "), Picture: picture}, nil
}

func (i *Issuer) openSetup(u User, sealed string) (s sealedTOTP, ok bool) {
	b, err := i.keys.open(sealedSetup, sealed)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err == nil && s.User == u.ID && i.now().Sub(time.UnixMilli(s.Created)) <= setupTTL
}

// addTOTP keeps the app, if the code is its.
func (i *Issuer) addTOTP(ctx context.Context, u User, sealed, code string) (bool, error) {
	s, ok := i.openSetup(u, sealed)
	if !ok {
		return false, nil
	}
	step, ok := checkTOTP(s.Secret, code, i.now(), 0)
	if !ok {
		return false, nil
	}
	// The id is of the secret: one setup that is sent twice is one app.
	f := Factor{ID: "fac_" + fmt.Sprintf("%x", DigestOf(string(s.Secret)))[:32], UserID: u.ID, Kind: TOTP, Label: "App for codes", Data: s.Secret, Step: step, Created: i.now(), Used: i.now()}
	err := i.store.Factors().Put(ctx, f, maxFactors)
	if errors.Is(err, ErrExists) || errors.Is(err, ErrFull) {
		return false, nil
	}
	if err == nil {
		i.log.Info("app for codes added", zap.String("user", u.Name))
	}
	return err == nil, err
}

// qrPicture draws a QR code, which an app reads from the screen. It is made of numbers only.
func qrPicture(text string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("cannot draw QR code: %w", err)
	}
	const quiet = 4 // modules of white around it (ISO/IEC 18004)
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := range size {
			if code.At(x, y) == color.Black {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	all := size + 2*quiet
	return template.HTML(fmt.Sprintf(`<svg class="qr" role="img" aria-label="QR code with the key below" viewBox="0 0 %d %d" shape-rendering="crispEdges"><rect width="%d" height="%d" fill="#fff"/><path d="%s" fill="#000"/></svg>`,
		all, all, all, all, path.String())), nil
}
