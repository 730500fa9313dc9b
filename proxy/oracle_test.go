package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/elazarl/goproxy"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// The same requests go through the gate and through a second implementation,
// goproxy over net/http's server and Transport. Whatever the gate lets pass
// reaches the origin with the meaning it has there. It may refuse more.

// meaning is what an origin understands of a request, less what proxies do as
// they please.
type meaning struct {
	Method, Target, Host, Body string
	Header, Trailer            []string
}

func meaningOf(r *http.Request) meaning {
	body, err := io.ReadAll(r.Body)
	m := meaning{Method: r.Method, Target: r.RequestURI, Host: r.Host, Body: string(body), Header: lines(r.Header), Trailer: lines(r.Trailer)}
	if err != nil {
		m.Body = "broken"
	}
	return m
}

func lines(h http.Header) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		switch name {
		case "Via", "Accept-Encoding", "User-Agent": // added or taken away by one of the two
		case "Connection", "Keep-Alive", "Te", "Upgrade", "Trailer", "Content-Length", "Expect":
		default:
			if strings.HasPrefix(name, "Proxy-") {
				continue
			}
			for _, v := range h[name] {
				all = append(all, name+": "+v)
			}
		}
	}
	return all
}

// understanding is an origin that says what it understood.
func understanding(t *testing.T) (port int, heard chan meaning) {
	heard = make(chan meaning, 4096) // more than anybody asks
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- meaningOf(r) }))
	s.Config.DisableGeneralOptionsHandler = true
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port, heard
}

// pipeline is the second implementation.
func pipeline(t *testing.T, port int) string {
	g := goproxy.NewProxyHttpServer()
	g.KeepAcceptEncoding = true
	g.Logger = silence{}
	g.Tr = &http.Transport{DisableCompression: true, DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}}
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// ask sends one request and returns the status of the answer and what the
// origin heard.
func ask(t *testing.T, addr, request string, heard chan meaning) (int, *meaning) {
	c := nettest.Dial(t, addr).Say("%s", request)
	defer c.Close()
	method, _, _ := strings.Cut(strings.TrimLeft(request, "\r\n"), " ")
	resp, err := http.ReadResponse(bufio.NewReader(c.In), &http.Request{Method: method})
	require.NoError(t, err, "%q", request)
	select {
	case m := <-heard:
		return resp.StatusCode, &m
	default:
		return resp.StatusCode, nil
	}
}

// accepted are the request heads that the parser's own vectors say are well-formed,
// with a port in place of none.
func accepted(t *testing.T, port int) (requests []string) {
	text, err := os.ReadFile("../internal/http1/testdata/requests.txt")
	require.NoError(t, err)
	noPort := regexp.MustCompile(`(?i)(example\.org)(\.?)(:80|:)?([/?\s]|$)`)
	for vector := range strings.SplitSeq(string(text), "\n\n") {
		var request string
		good := true
		for line := range strings.SplitSeq(vector, "\n") {
			if part, ok := strings.CutPrefix(line, "< "); ok {
				plain, err := strconv.Unquote(`"` + strings.ReplaceAll(part, `"`, `\"`) + `"`)
				good = good && err == nil
				request += plain
			}
			good = good && !strings.HasPrefix(line, "<*") && (!strings.HasPrefix(line, "= ") || strings.HasPrefix(line, "= ok"))
		}
		if _, body, _ := strings.Cut(request, "\r\n\r\n"); good && body == "" && strings.Contains(request, " http://") {
			request = noPort.ReplaceAllString(request, fmt.Sprintf("${1}${2}:%d${4}", port))
			requests = append(requests, request)
		}
	}
	return requests
}

// nominated reports whether the request's Connection names the field of a line:
// the gate takes it out, the second implementation does not.
func nominated(request, line string) bool {
	name, _, _ := strings.Cut(line, ":")
	for field := range strings.SplitSeq(request, "\r\n") {
		key, value, _ := strings.Cut(field, ":")
		if strings.EqualFold(key, "Connection") && slices.Contains(listed([]string{value}), strings.ToLower(name)) {
			return true
		}
	}
	return false
}

func TestTheEngineMeansWhatTheSecondImplementationMeans(t *testing.T) {
	port, heard := understanding(t)
	g := newGate(t, options{}, allow("example.org", port, plainHTTP))
	second := pipeline(t, port)
	requests := accepted(t, port)
	require.Greater(t, len(requests), 30, "the vectors were not found")
	for _, more := range []string{
		"POST http://example.org:%[1]d/a HTTP/1.1\r\nHost: example.org:%[1]d\r\nContent-Length: 5\r\n\r\nhello",
		"POST http://example.org:%[1]d/a HTTP/1.1\r\nHost: example.org:%[1]d\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n",
		"PUT http://example.org:%[1]d//a/../b?c#d HTTP/1.1\r\nHost: example.org:%[1]d\r\n\r\n",
		"DELETE http://example.org:%[1]d/a%%2Fb HTTP/1.0\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
		"GET http://example.org:%[1]d/ HTTP/1.1\r\nHost: example.org:%[1]d\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 3\r\n\r\n",
		"POST http://example.org:%[1]d/ HTTP/1.1\r\nHost: example.org:%[1]d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET http://example.org:%[1]d/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	} {
		requests = append(requests, fmt.Sprintf(more, port))
	}
	same := 0
	for _, request := range requests {
		if body := strings.Contains(request, "Content-Length: 5") || strings.Contains(strings.ToLower(request), "chunked"); body && strings.HasSuffix(request, "\r\n\r\n") && !strings.HasSuffix(request, "0\r\nX-Sum: 1\r\n\r\n") {
			continue // a vector's head whose body is not there
		}
		_, ours := ask(t, g.addr, request, heard)
		status := g.record().Status
		if ours == nil {
			require.GreaterOrEqual(t, status, 400, "%q", request)
			continue
		}
		code, theirs := ask(t, second, request, heard)
		if theirs == nil {
			t.Logf("only the gate takes it, the other says %d: %q", code, request)
			continue
		}
		requireSameMeaning(t, request, *ours, *theirs)
		same++
	}
	require.Greater(t, same, 10)
}

// requireSameMeaning leaves out what the gate takes away and the second
// implementation does not.
func requireSameMeaning(t *testing.T, request string, ours, theirs meaning) {
	if ours.Target == "*" { // RFC 9112, section 3.2.4; the second implementation asks for the root
		theirs.Target = "*"
	}
	theirs.Host = strings.ToLower(strings.Replace(theirs.Host, ".:", ":", 1)) // the gate's is normalized
	theirs.Header = slices.DeleteFunc(theirs.Header, func(line string) bool { return nominated(request, line) })
	ours.Header, theirs.Header = append([]string{}, ours.Header...), append([]string{}, theirs.Header...)
	require.Equal(t, theirs, ours, "%q", request)
}

// FuzzMeaning asks the same through the gate, in pieces, and through the second
// implementation: what an origin hears from the gate it hears from the other in the
// same words, or the other has said why not.
func FuzzMeaning(f *testing.F) {
	for _, seed := range []struct {
		method, path, fields, body string
		step                       uint8
	}{
		{"GET", "/", "", "", 0},
		{"GET", "/a?b=c", "Accept: */*\r\nCookie: a=b\r\nCookie: c=d\r\n", "", 3},
		{"POST", "/a", "Content-Length: 5\r\n", "hello", 7},
		{"POST", "/a", "Content-Length: 5\r\n", "hel", 0}, // broken
		{"POST", "/a", "Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", 1},
		{"POST", "/a", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", 2}, // broken
		{"POST", "/a", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n", 9},
		{"POST", "/a", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", 9},
		{"POST", "/a", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", 9},
		{"POST", "/a", "Content-Length: 0\r\n", "GET http://example.org/smuggled HTTP/1.1\r\nHost: example.org\r\n\r\n", 9},
		{"GET", "/a", "Connection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\n", "", 9},
		{"GET", "/a", "X: a\r\n b\r\n", "", 9},
		{"GET", "/a", "X: a\nY: b\r\n", "", 9},
		{"GET", "/a", "X : a\r\n", "", 9},
		{"HEAD", "//a/../b;c", "", "", 9},
		{"OPTIONS", "", "", "", 9},
		{"PROPFIND", "/%2e%2e/", "Depth: 1\r\n", "", 9},
	} {
		f.Add(seed.method, seed.path, seed.fields, seed.body, seed.step)
	}
	f.Fuzz(func(t *testing.T, method, path, fields, body string, step uint8) {
		port, heard := understanding(t)
		g := newGate(t, options{}, allow("example.org", port, plainHTTP))
		request := fmt.Sprintf("%s http://example.org:%[2]d%s HTTP/1.1\r\nHost: example.org:%[2]d\r\n%s\r\n%s", method, port, path, fields, body)
		ours := saidWith(t, g.addr, request, 1+int(step), heard)
		other, heardThere := understanding(t) // what the first hears late shall not count as its
		theirs := saidWith(t, pipeline(t, other), request, len(request), heardThere)
		for i := range min(len(ours), len(theirs)) {
			if theirs[i].Body != "broken" || ours[i].Body != "broken" {
				requireSameMeaning(t, request, ours[i], theirs[i])
			}
		}
	})
}

// saidWith sends all of what a client has to say, in pieces, ends its side, and
// returns what the origin has heard when the other side has ended too.
func saidWith(t *testing.T, addr, says string, piece int, heard chan meaning) (all []meaning) {
	c := nettest.Dial(t, addr)
	defer c.Close()
	for len(says) > 0 {
		n := min(piece, len(says))
		if _, err := io.WriteString(c.Conn, says[:n]); err != nil {
			break // it has been refused by then
		}
		says = says[n:]
	}
	c.Conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c.In)
	for {
		select {
		case m := <-heard:
			all = append(all, m)
		default:
			return all
		}
	}
}
