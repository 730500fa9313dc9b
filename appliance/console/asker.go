package console

import (
	"context"
	"net/http"
)

// askerKey is under which a connection's context holds who is at its other end.
type askerKey struct{}

// WithAsker says who is at the other end of a connection, where that is known by
// other means than the request.
func WithAsker(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, askerKey{}, who)
}

// Asker is who asks, for the audit trail: whom WithAsker named; else the login or
// the name in the client certificate, where there is one, and the address. It
// believes the request: whoever serves it must have checked the login, or taken it
// out.
func Asker(r *http.Request) string {
	if who, ok := r.Context().Value(askerKey{}).(string); ok {
		return who
	}
	if user, _, ok := r.BasicAuth(); ok {
		return user + " at " + r.RemoteAddr
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.VerifiedChains[0][0].Subject.CommonName + " at " + r.RemoteAddr
	}
	return r.RemoteAddr
}
