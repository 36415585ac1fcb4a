package bridge

import "bytes"

// listing is one of the lists a server publishes.
type listing uint8

const (
	noListing listing = iota
	toolListing
	promptListing
	resourceListing
	templateListing
	listings // how many, noListing included
)

func (l listing) method() string {
	return [listings]string{"", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}[l]
}

// member is the name of the array in the result.
func (l listing) member() string {
	return [listings]string{"", "tools", "prompts", "resources", "resourceTemplates"}[l]
}

// needs is the capability under which the server offers it.
func (l listing) needs() features {
	return [listings]features{0, hasTools, hasPrompts, hasResources, hasResources}[l]
}

// announcedBy are the changes that concern it: templates have no announcement of their own.
func (l listing) announcedBy() lists {
	return [listings]lists{0, listTools, listPrompts, listResources, listResources}[l]
}

// wholeList reports whether a call asks for a list from its start and says
// nothing else that could change the answer. What _meta holds beyond the
// protocol's own and trace context may be anything, a person's token included.
func (call *Call) wholeList() bool {
	if call.method.listing == noListing {
		return false
	}
	b, e := call.body, call.env
	if !e.params.ok() {
		return true
	}
	other := false
	members(nil, b, e.params, func(key []byte) bool {
		other = other || string(key) != "_meta"
		return false
	})
	members(nil, b, e.meta, func(key []byte) bool {
		switch string(key) {
		case "progressToken", "traceparent", "tracestate", "baggage":
		default:
			other = other || !bytes.HasPrefix(key, []byte(metaPrefix))
		}
		return false
	})
	return !other
}
