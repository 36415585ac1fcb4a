package dns

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-acme/lego/v5/challenge"
)

// maker makes a provider of its settings.
type maker struct {
	keys  []string // sorted
	build func(settings map[string]string) (provider, error)
}

// fields are where the settings of a provider go: *string, *int, *bool, *[]string or **url.URL.
type fields map[string]any

// lego makes a maker of a package of lego.
func lego[C any, P challenge.Provider](fresh func() *C, build func(*C) (P, error), into func(*C) fields) maker {
	return maker{
		keys: sortedKeys(into(fresh())),
		build: func(settings map[string]string) (provider, error) {
			conf := fresh()
			for key, dst := range into(conf) {
				text, ok := settings[key]
				if !ok {
					continue
				}
				if err := set(dst, text); err != nil {
					return nil, fmt.Errorf("%s: %w", key, err)
				}
			}
			p, err := build(conf)
			if err != nil {
				return nil, err
			}
			return legoProvider{p}, nil
		},
	}
}

// set parses a setting. Its errors do not show the text, which may be a secret.
func set(dst any, text string) (err error) {
	switch dst := dst.(type) {
	case *string:
		*dst = text
	case *[]string:
		*dst = strings.Split(text, ",")
	case *int:
		if *dst, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("must be a whole number")
		}
	case *bool:
		if *dst, err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("must be true or false")
		}
	case **url.URL:
		if *dst, err = url.Parse(text); err != nil || (*dst).Host == "" {
			return fmt.Errorf("must be a URL")
		}
	default:
		return fmt.Errorf("cannot be set")
	}
	return nil
}

// legoProvider is one of lego. Some replace what is at a name and do not say so: all are used one at a time per name.
type legoProvider struct{ challenge.Provider }

func (p legoProvider) add(ctx context.Context, r record) error {
	return p.Present(ctx, r.domain, r.token, r.keyAuth)
}

func (p legoProvider) remove(ctx context.Context, r record) error {
	return p.CleanUp(ctx, r.domain, r.token, r.keyAuth)
}

func (legoProvider) serial() bool { return true }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
