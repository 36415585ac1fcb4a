// Package pin turns the command line of a package runner, "npx -y some-server" or "uvx some-server", into the program
// that it would start after a while, and keeps that program at one version until somebody asks for another.
//
//	Parse ──▶ Request ──▶ Resolve ──▶ Program       "node …/dist/index.js", "…/venv/bin/python …/venv/bin/some-server"
//	                         │
//	                         ├─ in the working directory's node_modules (npx): as it is there
//	                         ├─ pinned and installed: nothing but a look at two files
//	                         └─ else, one at a time per package: npm install ──▶ packages/NAME@VERSION
//	                                               or uv venv, uv pip install ──▶ packages/NAME==VERSION
//	                                                                 │
//	                         Newest ── beside the present one ───────┘
//	                         Accept, Back: which of the two is the server's
//
// A version that was installed is never changed; a new one is a directory beside it, so workers of the old
// one go on undisturbed. What a server's pin is stands in one file (pins.json), with the digest that the
// registry gave for it: what comes under the same version later, and is something else, is not started.
// Its dependencies stay as they were installed for as long as the directory is there.
//
// Servers that ask for the same share a pin and an installation, unless their environments name different registries.
//
// Install scripts of packages do not run unless the server's entry allows it; those that were left out
// are named. Packages of Python that would have to be built, which runs theirs, are not pinned then.
//
// The package starts no process: Run is given to it. It does not know MCP and does not try what it installs.
package pin
