package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The oracle is net/http, and it is one-sided: we may refuse more than it does,
// but what we accept it must accept too and mean the same, and so it must what we
// emit.

func FuzzRequest(f *testing.F) {
	for _, v := range vectors(f, "requests.txt") {
		f.Add(v.raw, uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8) {
		var r Request
		n, err := r.Parse(raw, Limits{})
		var in Request
		parse := func(b []byte) (int, error) { return in.Parse(b, Limits{}) }
		m, errIn := pieces(raw, int(step)+1, parse)
		if err != nil && errIn == nil {
			// A long unfinished line is not looked at for every byte: what is wrong
			// with it is known at its end at the latest.
			in.Reset()
			m, errIn = pieces(append(raw[:len(raw):len(raw)], "\r\n"...), int(step)+1, parse)
		}
		require.Equal(t, err, errIn, "the outcome depends on how the bytes were cut")
		require.Equal(t, n, m)
		if n == 0 {
			return
		}
		require.Equal(t, requestParts(&r), requestParts(&in))
		head := bytes.TrimPrefix(raw[:n], []byte("\r\n")) // net/http passes no empty line over
		requireSameRequest(t, &r, head)
		if r.Authority().Host == nil {
			return // HTTP/1.0 in origin form: nobody to ask
		}
		for _, absolute := range []bool{false, true} {
			requireEmittedRequest(t, &r, absolute)
		}
	})
}

func requireSameRequest(t *testing.T, r *Request, head []byte) {
	theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	require.NoError(t, err, "net/http refuses what we accept: %q", head)
	require.Equal(t, string(r.Method), theirs.Method)
	require.Equal(t, int(r.Minor), theirs.ProtoMinor)
	require.Equal(t, string(r.Authority().Append(nil)), strings.TrimSuffix(theirs.Host, ":"))
	if r.Target.Form != AuthorityForm && r.Target.Form != AsteriskForm {
		path, _, _ := strings.Cut(string(r.Target.Path), "?")
		require.Equal(t, strings.TrimPrefix(path, "/"), strings.TrimPrefix(rawPath(theirs), "/"))
		require.Equal(t, string(r.Target.Query), theirs.URL.RawQuery)
	}
	requireSameBody(t, r.Body, theirs.ContentLength, theirs.TransferEncoding)
	if r.Minor == 1 {
		require.Equal(t, r.Options.Has(OptionClose), theirs.Close)
	}
	requireSameFields(t, &r.Fields, theirs.Header, r.Body.Kind == Chunked)
}

// rawPath is the path of a request as it came in its target.
func rawPath(r *http.Request) string {
	path := r.RequestURI
	if i := strings.Index(path, "://"); i >= 0 && !strings.HasPrefix(path, "/") {
		path = path[i+3:]
		if i = strings.IndexAny(path, "/?"); i < 0 {
			return ""
		}
		path = path[i:]
	}
	path, _, _ = strings.Cut(path, "?")
	return path
}

func requireSameBody(t *testing.T, b Body, length int64, codings []string) {
	switch b.Kind {
	case Chunked:
		require.Equal(t, []string{"chunked"}, codings)
	case Sized:
		require.Equal(t, b.Length, length)
		require.Empty(t, codings)
	case NoBody:
		require.Zero(t, length)
		require.Empty(t, codings)
	}
}

// requireSameFields compares everything that net/http leaves in its header map.
func requireSameFields(t *testing.T, f *Fields, theirs http.Header, chunked bool) {
	ours := http.Header{}
	for i := range f.Len() {
		name, value := f.Line(i)
		switch n := f.Known(i); {
		case n == Host || n == TransferEncoding || n == Trailer && chunked:
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		ours[key] = append(ours[key], string(value))
	}
	theirs = theirs.Clone()
	if ours["Cache-Control"] == nil && len(ours["Pragma"]) > 0 {
		delete(theirs, "Cache-Control") // net/http puts it in
	}
	delete(theirs, "Host")
	require.Equal(t, ours, theirs)
}

func requireEmittedRequest(t *testing.T, r *Request, absolute bool) {
	head := AppendRequest(nil, r, absolute, &Changes{Via: gate})
	var again Request
	n, err := again.Parse(head, Limits{HeadBytes: len(head) + 1, Fields: r.Len() + 2})
	require.NoError(t, err, "we refuse what we emit: %q", head)
	require.Equal(t, len(head), n)
	require.Equal(t, string(r.Method), string(again.Method))
	require.Equal(t, r.Authority(), again.Authority())
	require.Equal(t, r.Body, again.Body)
	require.False(t, again.HostMismatch)
	require.True(t, again.Persistent())
	require.True(t, again.PassedThrough(gate))
	require.Equal(t, string(r.Target.Query), string(again.Target.Query))
	require.Equal(t, strings.TrimPrefix(string(r.Target.Path), "/"), strings.TrimPrefix(string(again.Target.Path), "/"))
	require.Equal(t, passedOn(&r.Fields, r.Minor, "Via: 1."+string('0'+rune(r.Minor))+" gate"), passedOn(&again.Fields, 1, ""))
	requireSameRequest(t, &again, head)
}

// passedOn is what must go past this hop, one line each, written down a second
// time in the plainest way.
func passedOn(f *Fields, minor uint8, last string) (lines []string) {
	nominated := map[string]bool{}
	for i := range f.Len() {
		if name, value := f.Line(i); strings.EqualFold(string(name), "Connection") {
			for _, n := range strings.Split(string(value), ",") {
				nominated[strings.ToLower(strings.Trim(n, " \t"))] = true
			}
		}
	}
	for i := range f.Len() {
		name, value := f.Line(i)
		switch low := strings.ToLower(string(name)); low {
		case "connection", "keep-alive", "te", "upgrade", "host", "content-length", "transfer-encoding":
			continue
		case "expect":
			if minor == 0 {
				continue
			}
		case "cache-control", "content-encoding", "content-range", "content-type", "max-forwards", "trailer", "via":
		default:
			if strings.HasPrefix(low, "proxy-") && len(low) > 6 || nominated[low] {
				continue
			}
		}
		lines = append(lines, string(name)+": "+string(value))
	}
	if last != "" {
		lines = append(lines, last)
	}
	return lines
}

func FuzzResponse(f *testing.F) {
	for _, v := range vectors(f, "responses.txt") {
		f.Add(v.raw, uint8(3), v.method == "HEAD")
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8, toHead bool) {
		method := "GET"
		if toHead {
			method = "HEAD"
		}
		var r, in Response
		n, err := r.Parse(raw, method, Limits{})
		parse := func(b []byte) (int, error) { return in.Parse(b, method, Limits{}) }
		m, errIn := pieces(raw, int(step)+1, parse)
		if err != nil && errIn == nil {
			// A long unfinished line is not looked at for every byte: what is wrong
			// with it is known at its end at the latest.
			in.Reset()
			m, errIn = pieces(append(raw[:len(raw):len(raw)], "\r\n"...), int(step)+1, parse)
		}
		require.Equal(t, err, errIn, "the outcome depends on how the bytes were cut")
		require.Equal(t, n, m)
		if n == 0 {
			return
		}
		require.Equal(t, responseParts(&r), responseParts(&in))
		requireSameResponse(t, &r, method, raw[:n])

		head := AppendResponse(nil, &r, r.Declared, &Changes{Via: gate, Upgrade: r.Status == 101})
		var again Response
		n, err = again.Parse(head, method, Limits{HeadBytes: len(head) + 1, Fields: r.Len() + 2})
		require.NoError(t, err, "we refuse what we emit: %q", head)
		require.Equal(t, len(head), n)
		require.Equal(t, r.Status, again.Status)
		require.Equal(t, r.Reason, again.Reason)
		require.Equal(t, r.Body, again.Body)
		if r.Status != 101 {
			require.Equal(t, passedOn(&r.Fields, 1, "Via: 1."+string('0'+rune(r.Minor))+" gate"), passedOn(&again.Fields, 1, ""))
		}
		requireSameResponse(t, &again, method, head)
	})
}

func requireSameResponse(t *testing.T, r *Response, method string, head []byte) {
	theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: method})
	require.NoError(t, err, "net/http refuses what we accept: %q", head)
	require.Equal(t, r.Status, theirs.StatusCode)
	require.Equal(t, int(r.Minor), theirs.ProtoMinor)
	switch r.Body.Kind {
	case UntilClose:
		require.Equal(t, int64(-1), theirs.ContentLength)
		require.Empty(t, theirs.TransferEncoding)
	case Sized, Chunked:
		requireSameBody(t, r.Body, theirs.ContentLength, theirs.TransferEncoding)
	case NoBody:
		data, err := io.ReadAll(theirs.Body)
		require.NoError(t, err)
		require.Empty(t, data)
	}
	if r.Minor == 1 && r.Body.Kind != UntilClose {
		require.Equal(t, r.Options.Has(OptionClose), theirs.Close)
	}
	requireSameFields(t, &r.Fields, withoutClose(&r.Fields, theirs), r.Declared.Kind == Chunked)
}

// withoutClose puts back the Connection field, which net/http takes out of an
// answer that closes.
func withoutClose(f *Fields, theirs *http.Response) http.Header {
	h := theirs.Header.Clone()
	if theirs.Close && h["Connection"] == nil {
		for i := range f.Len() {
			if name, value := f.Line(i); f.Known(i) == Connection {
				key := textproto.CanonicalMIMEHeaderKey(string(name))
				h[key] = append(h[key], string(value))
			}
		}
	}
	return h
}

func FuzzChunked(f *testing.F) {
	for _, v := range vectors(f, "chunked.txt") {
		f.Add(v.raw, uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, step uint8) {
		var whole, cut, spans ChunkReader
		n, err := whole.Check(raw)
		m, errCut := checkInSteps(&cut, raw, int(step)+1)
		require.Equal(t, err, errCut, "the outcome depends on how the bytes were cut")
		require.Equal(t, n, m)
		require.Equal(t, whole.Done(), cut.Done())
		require.Equal(t, whole.Data(), cut.Data())

		data, k, errSpans := decode(&spans, raw, int(step)+1)
		require.Equal(t, err, errSpans)
		require.Equal(t, n, k)
		require.Equal(t, whole.Data(), int64(len(data)))
		if !whole.Done() {
			return
		}
		theirs, errTheirs := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(raw[:n])))
		require.NoError(t, errTheirs, "net/http refuses what we accept: %q", raw[:n])
		require.Equal(t, string(theirs), string(data))
		requireSameTrailers(t, raw[:n], data)
	})
}

func decode(c *ChunkReader, raw []byte, step int) (data []byte, n int, err error) {
	for n < len(raw) && !c.Done() {
		m, span, err := c.Next(raw[n:min(n+step, len(raw))])
		data = append(data, span...)
		n += m
		if err != nil {
			return data, n, err
		}
	}
	return data, n, nil
}

// requireSameTrailers has net/http read a request with the body to its very end.
func requireSameTrailers(t *testing.T, body, data []byte) {
	message := append([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), body...)
	in := bufio.NewReaderSize(bytes.NewReader(message), len(message)+4096)
	r, err := http.ReadRequest(in)
	require.NoError(t, err)
	theirs, err := io.ReadAll(r.Body)
	require.NoError(t, err, "net/http refuses the trailers we accept: %q", body)
	require.Equal(t, string(data), string(theirs))
	require.Zero(t, in.Buffered(), "net/http sees another end of the body: %q", body)
}
