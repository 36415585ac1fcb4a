package idp

import "net/http"

// shown is an error that a person sees as a page: RFC 6749 §4.1.2.1 forbids to send
// it on, or there is nowhere to send it. It and redirected are two types so that no
// check can mix them up.
type shown struct {
	status      int
	title, text string
	cause       error // for the log
}

func (e *shown) Error() string { return e.title }
func (e *shown) Unwrap() error { return e.cause }

// badRequest is a request that cannot be answered and should not have been sent.
func badRequest(text string, cause error) error {
	return &shown{
		status: http.StatusBadRequest, title: "This request is not valid",
		text: text + " Go back to the program you came from and start again.", cause: cause,
	}
}

// redirected is an error that goes back to the client, at a redirect URI found good.
type redirected struct{ code, text string }

func (e *redirected) Error() string { return e.code + ": " + e.text }

// refused makes a redirected error. The text is for the client's developer, in the
// characters that RFC 6749 §4.1.2.1 allows, and repeats nothing of the request.
func refused(code, text string) error { return &redirected{code: code, text: text} }

// Error codes of RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2, OpenID Connect Core §3.1.2.6 and RFC 7591 §3.2.2.
const (
	codeInvalidRequest  = "invalid_request"
	codeInvalidTarget   = "invalid_target"
	codeAccessDenied    = "access_denied"
	codeLoginRequired   = "login_required"
	codeConsentRequired = "consent_required"
	codeInvalidRedirect = "invalid_redirect_uri"
	codeInvalidMetadata = "invalid_client_metadata"
	codeUnavailable     = "temporarily_unavailable"
	codeServerError     = "server_error"
)

// errorResponse is an authorization error as the client reads it.
type errorResponse struct {
	Error       string `schema:"error"`
	Description string `schema:"error_description,omitempty"`
	State       string `schema:"state,omitempty"`
}
