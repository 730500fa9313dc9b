package http1

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func parsedRequest(t testing.TB, raw string) *Request {
	r := new(Request)
	n, err := r.Parse([]byte(raw), Limits{})
	require.NoError(t, err)
	require.Equal(t, len(raw), n)
	return r
}

func parsedResponse(t testing.TB, method, raw string) *Response {
	r := new(Response)
	n, err := r.Parse([]byte(raw), method, Limits{})
	require.NoError(t, err)
	require.Equal(t, len(raw), n)
	return r
}

func field(t testing.TB, name, value string) Field {
	f, err := NewField(name, value)
	require.NoError(t, err)
	return f
}

func TestTheGatesOwnFieldsReplaceWhatWasReceived(t *testing.T) {
	r := parsedRequest(t, "GET http://a/ HTTP/1.1\r\nHost: a\r\nx-request-id: forged\r\nX-Internal: 1\r\nProxy-Authorization: Basic Y2xpZW50\r\n\r\n")
	head := AppendRequest(nil, r, true, &Changes{
		Set:  []Field{field(t, "X-Request-ID", "7"), field(t, "Proxy-Authorization", "Basic Z2F0ZQ==")},
		Drop: []string{"x-internal"},
	})
	require.Equal(t, "GET http://a/ HTTP/1.1\r\nHost: a\r\nX-Request-ID: 7\r\nProxy-Authorization: Basic Z2F0ZQ==\r\n\r\n", string(head))
}

func TestAPermittedUpgradePasses(t *testing.T) {
	r := parsedRequest(t, "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n")
	head := AppendRequest(nil, r, false, &Changes{Upgrade: true})
	require.Equal(t, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n\r\n", string(head))

	answer := parsedResponse(t, "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	back := AppendResponse(nil, answer, answer.Declared, &Changes{Upgrade: true})
	require.Equal(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", string(back))
}

func TestTheCallerDeclaresTheBodyForItsClient(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		raw     string
		declare Body
		changes Changes
		want    string
	}{
		"a chunked answer to an HTTP/1.0 client ends with the connection": {
			chunked, Body{Kind: UntilClose}, Changes{Close: true}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		"an answer without a length is sent in chunks": {
			"HTTP/1.1 200 OK\r\n\r\n", Body{Kind: Chunked}, Changes{}, chunked},
		"an HTTP/1.0 client hears that the connection stays": {
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", Body{Kind: Sized, Length: 1}, Changes{KeepAlive: true},
			"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n"},
		"an answer without a body declares none whatever is asked": {
			"HTTP/1.1 204 No Content\r\n\r\n", Body{Kind: Chunked}, Changes{}, "HTTP/1.1 204 No Content\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := parsedResponse(t, "GET", c.raw)
			require.Equal(t, c.want, string(AppendResponse(nil, r, c.declare, &c.changes)))
		})
	}
}

func TestAFieldOfTheGateCannotBreakAHead(t *testing.T) {
	for name, f := range map[string][2]string{
		"a line end in a value":       {"X", "a\r\nHost: b"},
		"a NUL in a value":            {"X", "a\x00"},
		"white space around a value":  {"X", " a"},
		"a name that is no token":     {"X Y", "a"},
		"a name that is empty":        {"", "a"},
		"a length beside the head's":  {"content-length", "5"},
		"a coding beside the head's":  {"Transfer-Encoding", "chunked"},
		"a host beside the head's":    {"Host", "b"},
		"options beside the head's":   {"Connection", "close"},
		"protocols beside the head's": {"Upgrade", "h2c"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewField(f[0], f[1])
			require.Error(t, err)
		})
	}
	for _, name := range []string{"", "a b", "a,b", "gate\r\n", "(gate)"} {
		_, err := ParsePseudonym(name)
		require.Error(t, err, "%q", name)
	}
}

func TestWrittenChunksAreReadAgain(t *testing.T) {
	var body []byte
	body = AppendChunk(body, []byte("hello"))
	body = AppendChunk(body, nil)
	body = AppendChunk(body, make([]byte, 4096))
	body = AppendLastChunk(body, field(t, "X-Sum", "1"), field(t, "Content-Type", "text/html"))
	require.Contains(t, string(body), "X-Sum: 1\r\n")
	require.NotContains(t, string(body), "Content-Type")
	var c ChunkReader
	n, err := c.Check(body)
	require.NoError(t, err)
	require.Equal(t, len(body), n)
	require.True(t, c.Done())
	require.EqualValues(t, 4101, c.Data())

	c.Reset()
	_, err = c.Check(AppendLastChunk(nil))
	require.NoError(t, err)
	require.True(t, c.Done())
	require.Zero(t, c.Data())
}

func TestAHeadCanBeLookedUpByAnyName(t *testing.T) {
	r := parsedRequest(t, "GET / HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\nX-Empty:\r\n\r\n")
	require.Equal(t, "1", string(r.Lookup("x-TWO")))
	require.NotNil(t, r.Lookup("x-empty"))
	require.Nil(t, r.Lookup("x-three"))
	require.Nil(t, r.Value(ContentType))
	name, value := r.Line(2)
	require.Equal(t, "x-two: 2", string(name)+": "+string(value))
}

func TestOneRequestIsReadAfterAnother(t *testing.T) {
	const first, second = "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 0\r\nContent-Type: t\r\n\r\n", "GET /b HTTP/1.1\r\nHost: b\r\n\r\n"
	var r Request
	n, err := r.Parse([]byte(first+second), Limits{})
	require.NoError(t, err)
	require.Equal(t, len(first), n)
	n, err = r.Parse([]byte(second), Limits{})
	require.NoError(t, err)
	require.Equal(t, len(second), n)
	require.Equal(t, "GET", string(r.Method))
	require.Equal(t, NoBody, r.Body.Kind)
	require.Equal(t, ExpectNothing, r.Expect)
	require.False(t, r.Has(ContentType))
	require.Equal(t, 1, r.Len())
}
