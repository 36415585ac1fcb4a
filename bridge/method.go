package bridge

// method is what the bridge knows about a request of a client.
type method struct {
	name    string
	needs   features // the server's capability it belongs to
	cached  bool     // its result carries ttlMs and cacheScope (MCP 2026-07-28, caching)
	asks    bool     // may be answered with input required (MCP 2026-07-28, MRTR)
	tool    bool
	task    bool // is about one task
	foreign bool // of neither generation: passed on as it is
	listing listing
	header  header // what Mcp-Name mirrors
	era     uint8
}

type header uint8

const (
	mirrorsNothing header = iota
	mirrorsName
	mirrorsURI
	mirrorsTask
)

const (
	inModern uint8 = 1 << iota
	inLegacy
	inBoth = inModern | inLegacy
)

// methodOf looks a method up; the zero method is an unknown one.
func methodOf(name []byte) method {
	switch string(name) {
	case "tools/call":
		return method{name: "tools/call", needs: hasTools, asks: true, tool: true, header: mirrorsName, era: inBoth}
	case "tools/list":
		return method{name: "tools/list", listing: toolListing, needs: hasTools, cached: true, era: inBoth}
	case "prompts/list":
		return method{name: "prompts/list", listing: promptListing, needs: hasPrompts, cached: true, era: inBoth}
	case "prompts/get":
		return method{name: "prompts/get", needs: hasPrompts, asks: true, header: mirrorsName, era: inBoth}
	case "resources/list":
		return method{name: "resources/list", listing: resourceListing, needs: hasResources, cached: true, era: inBoth}
	case "resources/templates/list":
		return method{name: "resources/templates/list", listing: templateListing, needs: hasResources, cached: true, era: inBoth}
	case "resources/read":
		return method{name: "resources/read", needs: hasResources, cached: true, asks: true, header: mirrorsURI, era: inBoth}
	case "completion/complete":
		return method{name: "completion/complete", needs: hasCompletions, era: inBoth}
	case "server/discover":
		return method{name: "server/discover", cached: true, era: inModern}
	case "subscriptions/listen":
		return method{name: "subscriptions/listen", era: inModern}
	case "tasks/get":
		return method{name: "tasks/get", task: true, header: mirrorsTask, era: inBoth}
	case "tasks/cancel":
		return method{name: "tasks/cancel", task: true, header: mirrorsTask, era: inBoth}
	case "tasks/update":
		return method{name: "tasks/update", task: true, header: mirrorsTask, era: inModern}
	case "tasks/result":
		return method{name: "tasks/result", task: true, era: inLegacy}
	case "tasks/list":
		return method{name: "tasks/list", era: inLegacy}
	case "initialize":
		return method{name: "initialize", era: inLegacy}
	case "ping":
		return method{name: "ping", era: inLegacy}
	case "logging/setLevel":
		return method{name: "logging/setLevel", needs: hasLogging, era: inLegacy}
	case "resources/subscribe":
		return method{name: "resources/subscribe", needs: hasSubscribe, era: inLegacy}
	case "resources/unsubscribe":
		return method{name: "resources/unsubscribe", needs: hasSubscribe, era: inLegacy}
	}
	return method{}
}
