package bridge

import (
	"errors"
	"strconv"
	"time"
)

// JSON-RPC 2.0 §5.1 and MCP 2026-07-28, basic: the codes the bridge itself may send.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeParams         = -32602
	codeInternal       = -32603
	codeHeader         = -32020
	codeCapability     = -32021
	codeVersion        = -32022
	codeOldNotFound    = -32002 // legacy only: resource not found
)

// fault is a JSON-RPC error with the HTTP status that carries it. text is
// written for the person at the client; data is raw JSON or nil.
type fault struct {
	status int
	code   int
	text   string
	data   []byte
}

func (f *fault) Error() string { return f.text }

func internal(text string) *fault { return &fault{200, codeInternal, text, nil} }

// later is what a client is told that is to try again in so many seconds.
func later(text string, seconds int64) *fault {
	f := internal(text)
	f.data = append(strconv.AppendInt([]byte(`{"retryAfter":`), seconds, 10), '}')
	return f
}

// refusal turns an error of Workers.Acquire or of a worker's end into a fault.
// Their texts are made for people. The status stays 200: a 5xx on the first
// request makes clients give up the whole connection.
func refusal(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var hint interface{ RetryAfter() time.Duration }
	if errors.As(err, &hint) && hint.RetryAfter() > 0 {
		return later(err.Error(), int64((hint.RetryAfter()+time.Second-1)/time.Second))
	}
	return internal(err.Error())
}

// append writes the whole response. id is the raw id, nil when it was not readable.
func (f *fault) append(dst, id []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if id != nil {
		dst = append(dst, `"id":`...)
		dst = append(dst, id...)
		dst = append(dst, ',')
	}
	dst = append(dst, `"error":`...)
	dst = f.object(dst)
	return append(dst, '}')
}

func (f *fault) object(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(f.code), 10)
	dst = append(dst, `,"message":`...)
	dst = quote(dst, f.text)
	if f.data != nil {
		dst = append(dst, `,"data":`...)
		dst = append(dst, f.data...)
	}
	return append(dst, '}')
}
