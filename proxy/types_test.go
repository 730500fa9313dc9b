package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestTypesHoldTheHeadAndCutTheBody(t *testing.T) { overBoth(t, testTypesHoldTheHeadAndCutTheBody) }

func testTypesHoldTheHeadAndCutTheBody(t *testing.T, over carrier) {
	o := over.origin(t)
	rule := over.allow(www, o.Port, types("*.inf", "text/plain"), types("*.zip", "application/zip"), types("*", "text/html"))
	g := over.gate(t, options{}, rule)
	askFor := func(part, path, head, body string) (*nettest.Peer, *nettest.Peer) {
		c := g.dial().Say("GET http://%[1]s:%[2]d%[3]s HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n%[4]s\r\n", www, o.Port, path, part)
		s := o.Take(t)
		s.Head()
		s.Say("HTTP/1.1 %s\r\nConnection: close\r\n\r\n%s", head, body)
		return c, s
	}
	ask := func(path, head, body string) (*nettest.Peer, *nettest.Peer) { return askFor("", path, head, body) }
	t.Run("a part from the middle that was asked for is not judged by its bytes", func(t *testing.T) {
		c, s := askFor("Range: bytes=5-8\r\n", "/a.inf", "206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-8/99", "MZ\x90\x00")
		s.Close()
		resp, _ := c.Response("GET")
		require.Equal(t, 206, resp.StatusCode)
		require.Equal(t, policy.Matched, g.record().Verdict.Reason)
	})
	for _, test := range []struct {
		name, path, head, body string
		status                 int
		reason                 policy.Reason
	}{
		{"the type that is listed passes", "/a.inf", "200 OK\r\nContent-Type: text/plain; charset=utf-8", "[Version]\r\n", 200, policy.Matched},
		{"another type does not", "/a.inf", "200 OK\r\nContent-Type: text/html", "<html>", 403, policy.TypeNotListed},
		{"no type does not", "/a.inf", "200 OK", "[Version]", 403, policy.TypeNotListed},
		{"two types do not", "/a.inf", "200 OK\r\nContent-Type: text/plain\r\nContent-Type: text/plain", "[Version]", 403, policy.TypeNotListed},
		{"a program that says it is text does not", "/a.inf", "200 OK\r\nContent-Type: text/plain", "MZ\x90\x00", 403, policy.TypeMismatch},
		{"a page that says it is an archive does not", "/a.zip", "200 OK\r\nContent-Type: application/zip", "<html>not found</html>", 403, policy.TypeMismatch},
		{"text that says it is an archive passes, for text is what has no signature", "/a.zip", "200 OK\r\nContent-Type: application/zip", "hello", 200, policy.Matched},
		{"an archive that begins with letters passes", "/a.zip", "200 OK\r\nContent-Type: application/zip", "GCUPDATE\x00\x01\x02", 200, policy.Matched},
		{"a compressed body that has hardly begun is not judged by its bytes", "/a.inf", "200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip", "\x1f\x8b\x08", 200, policy.Matched},
		{"a part that nobody asked for is all there is", "/a.inf", "206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-8/99", "MZ\x90\x00", 403, policy.TypeMismatch},
		{"a part from the beginning is", "/a.inf", "206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-3/99", "MZ\x90\x00", 403, policy.TypeMismatch},
		{"an error page may have any type", "/a.inf", "404 Not Found\r\nContent-Type: text/html", "<html>", 404, policy.Matched},
		{"an answer without a body has none", "/a.inf", "200 OK\r\nContent-Length: 0", "", 200, policy.Matched},
		{"a body that turns out empty has none either", "/a.inf", "200 OK", "", 200, policy.Matched},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := ask(test.path, test.head, test.body)
			s.Close()
			resp, body := c.Response("GET")
			require.Equal(t, test.status, resp.StatusCode, body)
			r := g.record()
			require.Equal(t, test.reason, r.Verdict.Reason)
			if test.reason == policy.Matched {
				require.Equal(t, test.body, body)
			}
		})
	}
	t.Run("text is not kept waiting for more of it", func(t *testing.T) {
		c, s := ask("/a.inf", "200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked", "1\r\nx\r\n")
		c.Head()
		c.ExpectChunk("x")
		s.Chunk("y")
		c.ExpectChunk("y")
		s.Close()
		g.record()
	})
	t.Run("what begins as text and turns out a page is no archive", func(t *testing.T) {
		c, s := ask("/a.zip", "200 OK\r\nContent-Type: application/zip\r\nTransfer-Encoding: chunked", "1\r\n<\r\n")
		s.Chunk("html>").Say("0\r\n\r\n").Close()
		resp, _ := c.Response("GET")
		require.Equal(t, 403, resp.StatusCode)
		require.Equal(t, policy.TypeMismatch, g.record().Verdict.Reason)
	})
	g = over.gate(t, options{config: Config{Hold: 100 * time.Millisecond}}, rule) // which is over soon
	t.Run("what shows itself after the head has gone cuts the body", func(t *testing.T) {
		c, s := ask("/a.inf", "200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked", "1\r\nM\r\n")
		require.Contains(t, c.Head(), "200 OK")                           // after the hold: an M alone may be anything
		s.Say("1\r\nZ\r\n%x\r\n%s\r\n", 600, strings.Repeat("\x00", 600)) // at once: the gate may cut after any piece
		rest, _ := c.Ended()
		require.NotContains(t, rest, "\r\n0\r\n")
		require.NotContains(t, rest, "\x00")
		r := g.record()
		require.Equal(t, policy.TypeMismatch, r.Verdict.Reason)
		require.Equal(t, policy.Deny, r.Verdict.Effect)
		require.Equal(t, "cut", r.End)
	})
	t.Run("a silent body does not hold the head for ever", func(t *testing.T) {
		c, s := ask("/a.inf", "200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked", "")
		require.Contains(t, c.Head(), "200 OK")
		s.Chunk("late").Say("0\r\n\r\n")
		c.ExpectChunk("late").Expect("0\r\n\r\n")
		require.Equal(t, "done", g.record().End)
	})
}

func TestUploadsAreJudgedByTheirType(t *testing.T) { overBoth(t, testUploadsAreJudgedByTheirType) }

func testUploadsAreJudgedByTheirType(t *testing.T, over carrier) {
	json, err := policy.ParseMediaType("application/json")
	require.NoError(t, err)
	for name, test := range map[string]struct {
		fields string
		reason policy.Reason
	}{
		"the listed type":        {"Content-Type: Application/JSON; charset=utf-8\r\n", policy.Matched},
		"another type":           {"Content-Type: text/plain\r\n", policy.UploadNotListed},
		"no type":                {"", policy.UploadNotListed},
		"a type that stays here": {"Content-Type: application/json\r\nConnection: content-type\r\n", policy.UploadNotListed},
	} {
		t.Run(name, func(t *testing.T) {
			o := over.origin(t)
			g := over.gate(t, options{}, over.allow(www, o.Port, func(r *policy.Rule) { r.Uploads = []policy.MediaType{json} }))
			c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Length: 2\r\n%[2]s\r\n{}", o.Port, test.fields)
			if test.reason == policy.Matched {
				s := o.Take(t)
				s.Head()
				s.Expect("{}").Say("HTTP/1.1 204 No Content\r\n\r\n").Close()
			}
			c.Head()
			require.Equal(t, test.reason, g.record().Verdict.Reason)
		})
	}
}
