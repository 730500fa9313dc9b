package proxy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// ownField is the field by which a refusal tells its decision id. Nobody else
// sends it through this gate, in either direction.
const ownField = "X-Gatehouse-Decision"

// contentType is the media type a head declares: none where there is no such
// field or more than one, or where Connection names it, for who says so cannot
// have meant it for the other side.
func contentType(f *http1.Fields) policy.MediaType {
	if f.Count(http1.ContentType) != 1 {
		return policy.MediaType{}
	}
	if f.Has(http1.Connection) && slices.Contains(listed(values(f, "Connection")), "content-type") {
		return policy.MediaType{}
	}
	return policy.DeclaredType([]string{string(f.Value(http1.ContentType))})
}

// values are the values of all lines of a field.
func values(f *http1.Fields, name string) (list []string) {
	for i := range f.Len() {
		if n, value := f.Line(i); strings.EqualFold(string(n), name) {
			list = append(list, string(value))
		}
	}
	return list
}

// headerOf is what goes on of a head, as net/http writes it: nothing that frames,
// routes or is for one hop alone.
func headerOf(f *http1.Fields) http.Header {
	h := http.Header{}
	for i := range f.Len() {
		switch f.Known(i) {
		case http1.Host, http1.ContentLength, http1.TransferEncoding:
			continue
		}
		if f.Hop(i) {
			continue
		}
		name, value := f.Line(i)
		if key := textproto.CanonicalMIMEHeaderKey(string(name)); key != ownField {
			h[key] = append(h[key], string(value))
		}
	}
	return h
}
