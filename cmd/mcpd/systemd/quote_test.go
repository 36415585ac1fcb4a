package systemd

import (
	"slices"
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/usr/bin/mcpd": "/usr/bin/mcpd",
		"":              `""`,
		"/a b":          `"/a b"`,
		`/50%"\`:        `"/50%%\"\\"`,
		"/$HOME;":       `"/$HOME;"`,
	} {
		if got := word(in); got != want {
			t.Errorf("word(%q) is %s, want %s", in, got, want)
		}
	}
}

func TestListenStreams(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    []string
		ipv6  bool
		want  []string
		later bool
	}{
		{[]string{":443", ":80"}, true, []string{"443", "80"}, false},
		{[]string{"localhost:8080"}, true, []string{"127.0.0.1:8080", "[::1]:8080"}, false},
		{[]string{"localhost:8080", "127.0.0.1:8080"}, false, []string{"127.0.0.1:8080"}, false},
		{[]string{"192.0.2.1:443", "[::]:80"}, true, []string{"192.0.2.1:443", "[::]:80"}, true},
		{[]string{"localhost:0", "example.com:443", "none", ""}, true, nil, false},
	} {
		if got, later := listenStreams(tt.in, tt.ipv6); !slices.Equal(got, tt.want) || later != tt.later {
			t.Errorf("%q, IPv6 %t: %q, %t", tt.in, tt.ipv6, got, later)
		}
	}
}

func TestFilesOfEveryVersion(t *testing.T) {
	t.Parallel()
	s := Service{Binary: "/usr/bin/mcpd", Config: "/a/servers.toml", State: "/s", Path: "/usr/bin"}
	for _, tt := range []struct {
		change func(*Service)
		want   []string
	}{
		{func(s *Service) { s.Version = 252 }, []string{serviceUnit}},
		{func(s *Service) { s.Version = 253 }, []string{serviceUnit, notifyReload}},
		{func(s *Service) { s.Version, s.Sandbox, s.Listen = 257, true, []string{":8080"} }, []string{serviceUnit, socketUnit, notifyReload, sandbox}},
		{func(s *Service) { s.System, s.Sandbox, s.Version = true, true, 252 }, []string{serviceUnit}},
	} {
		one := s
		tt.change(&one)
		files, err := one.Files()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			got = append(got, f.Name)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v has %q, want %q", one, got, tt.want)
		}
		// Without a socket unit the service must not ask for one.
		if asks, has := strings.Contains(string(files[0].Text), "Sockets="), slices.Contains(got, socketUnit); asks != has {
			t.Errorf("Sockets= is there: %t, the unit: %t", asks, has)
		}
	}
	s.Binary = "/usr/bin/mc\npd"
	if _, err := s.Files(); err == nil || !strings.Contains(err.Error(), "control character") {
		t.Errorf("a line break in a path: %v", err)
	}
}
