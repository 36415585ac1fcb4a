# Every recipe is a command that can as well be pasted into a shell; nothing needs `just`.

# start the daemon with ./servers.toml
run *ARGS:
    go run ./cmd/mcpd run {{ARGS}}

# a static binary, ./bin/mcpd
build:
    CGO_ENABLED=0 go build -trimpath -o bin/mcpd ./cmd/mcpd

# all tests; what needs Node, npm packages or Chromium skips with a reason (see e2e)
test:
    go test ./...

# all tests under the race detector (needs a C compiler); -short leaves out those with foreign clients
race *ARGS:
    GORACE=atexit_sleep_ms=0 go test -race {{ARGS}} ./...

# every fuzz target for FUZZTIME (default 5s)
fuzz:
    .ci/run fuzz

# gofmt, go vet for Linux and macOS, staticcheck
lint:
    .ci/run lint

# Go benchmarks of every room
bench:
    go test -run '^$' -bench . -benchmem ./...

# measure the daemon against a harness of proxies: BENCH_DIR names the harness's folder (it has a run.sh), the targets are in testdata/bench
bench-proxy *ARGS: build
    MCPD=$PWD/bin/mcpd BENCH_CONF=$PWD/testdata/bench BENCH_DIR=${TMPDIR:-/tmp}/mcpd-bench sh -c '"$@"' sh "$BENCH_DIR/run.sh" -targets direct,floor,mcpd {{ARGS}}

# everything with real clients, the conformance suite and a browser; a test that cannot run fails
e2e:
    (cd testdata/peers && npm ci) && MCPD_TEST_REQUIRE=all go test -count=1 ./cmd/mcpd

# hostile servers, killed workers and reloads under load for TIME, mcpd killed KILLS times, and 200 reloads (Linux)
chaos TIME="20m" KILLS="50":
    MCPD_CHAOS={{TIME}} MCPD_CHAOS_KILLS={{KILLS}} go test -count=1 -v -timeout 2h -run '^TestChaos' ./cmd/mcpd

# limits, sandboxes and ends on a virtual machine whose cgroups are ours (Debian, as root; a minute)
vm *TESTS:
    .ci/vm {{TESTS}}

# mcpd as a service of systemd 252 and 257, of a person and of the machine, in such machines (Debian, as root; half an hour)
vm-systemd *RELEASES:
    .ci/vm systemd {{RELEASES}}

# static binaries, .deb, .rpm, SBOM and checksums in ./dist, tried (needs a network for the packagers, and dpkg)
dist:
    .ci/dist/check

# all that CI does, on Debian 12 as root
ci:
    .ci/run
