package idp

import (
	"encoding/json"
	"net/http"
)

// apiError is an error as a program reads it (RFC 6749 §5.2, RFC 7591 §3.2.2). The text is
// for the program's developer; causes go to the log by another way.
type apiError struct {
	status int
	Code   string `json:"error"`
	Text   string `json:"error_description,omitempty"`
}

func (e *apiError) Error() string { return e.Code + ": " + e.Text }

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that left is no error
}
