package http1

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	smallGET = "GET http://example.org/a.inf HTTP/1.1\r\nHost: example.org\r\n\r\n"

	browserGET = "GET http://www.example.org/assets/site.css?v=20260901 HTTP/1.1\r\nHost: www.example.org\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/css,*/*;q=0.1\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n" +
		"Referer: http://www.example.org/\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n" +
		"Connection: keep-alive\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nDNT: 1\r\n\r\n"

	okAnswer = "HTTP/1.1 200 OK\r\nDate: Mon, 07 Sep 2026 08:00:00 GMT\r\nServer: origin\r\nContent-Type: text/css\r\n" +
		"ETag: \"0123456789\"\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n"
)

func chunkStream(size, total int) []byte {
	var body []byte
	for data := make([]byte, size); len(body) < total; {
		body = AppendChunk(body, data)
	}
	return body
}

func TestOrdinaryHeadsAndBodiesCostNoAllocation(t *testing.T) {
	var r Request
	var a Response
	dst := make([]byte, 0, 4096)
	changes := &Changes{Via: gate, Set: []Field{field(t, "X-Request-ID", "1")}, Drop: []string{"X-Decision"}}
	small, browser, answer := []byte(smallGET), []byte(browserGET), []byte(okAnswer)
	connect, chunked := []byte("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"), []byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	stream := chunkStream(64, 16<<10)
	bad := []byte("GET / HTTP/1.1\r\nHost : a\r\n\r\n")
	for name, f := range map[string]func(){
		"a small GET":     func() { n, err := r.Parse(small, Limits{}); mustRead(n, err, len(small)) },
		"a browser's GET": func() { n, err := r.Parse(browser, Limits{}); mustRead(n, err, len(browser)) },
		"a CONNECT":       func() { n, err := r.Parse(connect, Limits{}); mustRead(n, err, len(connect)) },
		"a chunked POST":  func() { n, err := r.Parse(chunked, Limits{}); mustRead(n, err, len(chunked)) },
		"a head in pieces": func() {
			r.Parse(browser[:300], Limits{})
			n, err := r.Parse(browser, Limits{})
			mustRead(n, err, len(browser))
		},
		"an answer": func() { n, err := a.Parse(answer, "GET", Limits{}); mustRead(n, err, len(answer)) },
		"a refusal": func() {
			if _, err := r.Parse(bad, Limits{}); err != ErrFieldSpace {
				panic(err)
			}
		},
		"an emitted request": func() {
			r.Parse(browser, Limits{})
			dst = AppendRequest(dst[:0], &r, false, changes)
		},
		"an emitted answer": func() {
			a.Parse(answer, "GET", Limits{})
			dst = AppendResponse(dst[:0], &a, a.Declared, changes)
		},
		"a look for the gate's own Via": func() { r.PassedThrough(gate) },
		"a chunk stream":                func() { var c ChunkReader; n, err := c.Check(stream); mustRead(n, err, len(stream)) },
	} {
		t.Run(name, func(t *testing.T) { require.Zero(t, testing.AllocsPerRun(100, f)) })
	}
}

func mustRead(n int, err error, want int) {
	if n != want || err != nil {
		panic(err)
	}
}

// A head that drips in byte by byte, in one long line or in many, costs no more
// than a bounded number of looks at each byte: the time for twice the bytes is
// about twice, which BenchmarkDrip shows; here only that it is read.
func TestAHeadMayDripIn(t *testing.T) {
	raw := []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + string(bytes.Repeat([]byte("a"), 60000)) + "\r\n\r\n")
	var r Request
	for end := range raw {
		n, err := r.Parse(raw[:end], Limits{})
		require.NoError(t, err)
		require.Zero(t, n)
	}
	n, err := r.Parse(raw, Limits{})
	mustRead(n, err, len(raw))
	require.Equal(t, 2, r.Len())
}

func BenchmarkRequest(b *testing.B) {
	for name, raw := range map[string]string{"small": smallGET, "fields=11": browserGET} {
		b.Run(name+"/parse", func(b *testing.B) {
			var r Request
			in := []byte(raw)
			b.ReportAllocs()
			for b.Loop() {
				r.Parse(in, Limits{})
			}
		})
		b.Run(name+"/parse+emit", func(b *testing.B) {
			var r Request
			in, dst, changes := []byte(raw), make([]byte, 0, 4096), &Changes{Via: gate}
			b.ReportAllocs()
			for b.Loop() {
				r.Parse(in, Limits{})
				dst = AppendRequest(dst[:0], &r, false, changes)
			}
		})
	}
}

func BenchmarkResponse(b *testing.B) {
	var r Response
	in, dst, changes := []byte(okAnswer), make([]byte, 0, 4096), &Changes{Via: gate}
	b.ReportAllocs()
	for b.Loop() {
		r.Parse(in, "GET", Limits{})
		dst = AppendResponse(dst[:0], &r, r.Declared, changes)
	}
}

func BenchmarkChunked(b *testing.B) {
	for name, size := range map[string]int{"chunk=64": 64, "chunk=4096": 4096} {
		b.Run(name, func(b *testing.B) {
			body := chunkStream(size, 16<<10)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var c ChunkReader
				c.Check(body)
			}
		})
	}
}

func BenchmarkDrip(b *testing.B) {
	for name, size := range map[string]int{"16k": 16 << 10, "32k": 32 << 10} {
		b.Run(name, func(b *testing.B) {
			raw := []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + string(bytes.Repeat([]byte("a"), size)))
			for b.Loop() {
				var r Request
				for end := range raw {
					r.Parse(raw[:end], Limits{})
				}
			}
		})
	}
}
