package proxy

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// encoders apply the codings that decoders undo.
var encoders = map[string]func(io.Writer) io.WriteCloser{
	"gzip":   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"x-gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"zlib":   func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"br":     func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	"flate": func(w io.Writer) io.WriteCloser {
		f, _ := flate.NewWriter(w, flate.BestCompression)
		return f
	},
}

func encode(t *testing.T, coding string, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := encoders[coding](&b)
	_, err := io.WriteString(w, body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

var program = "MZ\x90\x00" + strings.Repeat("\x00\x01This program cannot be run in DOS mode.", 100)

func TestTypesLookThroughContentCodings(t *testing.T) {
	overBoth(t, testTypesLookThroughContentCodings)
}

func testTypesLookThroughContentCodings(t *testing.T, over carrier) {
	text := strings.Repeat("[Version]\r\nSignature=\"$Windows NT$\"\r\n", 50)
	for _, test := range []struct {
		name, coding, body string
		reason             policy.Reason
	}{
		{"text in gzip passes", "gzip", encode(t, "gzip", text), policy.Matched},
		{"a program in gzip does not", "gzip", encode(t, "gzip", program), policy.TypeMismatch},
		{"nor by the old name of the coding", "x-gzip", encode(t, "gzip", program), policy.TypeMismatch},
		{"nor in capitals", "GZIP", encode(t, "gzip", program), policy.TypeMismatch},
		{"text in zlib passes", "deflate", encode(t, "zlib", text), policy.Matched},
		{"a program in zlib does not", "deflate", encode(t, "zlib", program), policy.TypeMismatch},
		{"text in bare deflate passes", "deflate", encode(t, "flate", text), policy.Matched},
		{"a program in bare deflate does not", "deflate", encode(t, "flate", program), policy.TypeMismatch},
		{"text in brotli passes", "br", encode(t, "br", text), policy.Matched},
		{"a program in brotli does not", "br", encode(t, "br", program), policy.TypeMismatch},
		{"a program in two codings does not", "gzip, br", encode(t, "br", encode(t, "gzip", program)), policy.TypeMismatch},
		{"nor where one of them changes nothing", "identity, gzip", encode(t, "gzip", program), policy.TypeMismatch},
		{"a program that only says it is compressed does not", "gzip", program, policy.TypeMismatch},
		{"a zip inside gzip does not", "gzip", encode(t, "gzip", "PK\x03\x04"+program), policy.TypeMismatch},
		{"what is behind a coding that nobody knows cannot be recognised", "zstd", "\x28\xb5\x2f\xfd" + program, policy.Matched},
		{"nor what is behind very many", "gzip, gzip, gzip, gzip", encode(t, "gzip", program), policy.Matched},
		{"nor text that only says it is coded so", "zstd", text, policy.Matched},
		{"a program that only says it is coded so is one", "zstd", program, policy.TypeMismatch},
		{"also where it says so very often", "gzip, gzip, gzip, gzip", program, policy.TypeMismatch},
		{"a long header of gzip hides nothing", "gzip", "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff" + strings.Repeat("a", headBytes) + "\x00" + encode(t, "flate", program), policy.TypeMismatch},
		{"nor do empty members", "gzip", strings.Repeat(encode(t, "gzip", ""), headBytes/20) + encode(t, "gzip", program), policy.TypeMismatch},
		{"nor do empty blocks", "deflate", "\x78\x9c" + strings.Repeat("\x00\x00\x00\xff\xff", headBytes/5) + encode(t, "flate", program), policy.TypeMismatch},
		{"nor what ends within its coding", "gzip", encode(t, "gzip", program)[:11], policy.Matched},
		{"a beginning that breaks off in rubbish shows what it shows", "gzip", encode(t, "gzip", program)[:60] + strings.Repeat("\xff", 600), policy.TypeMismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := over.origin(t)
			g := over.gate(t, options{}, over.allow(www, o.Port, types("*.inf", "text/plain")))
			c := g.get(www, o.Port, "/a.inf")
			s := o.Take(t)
			s.Head()
			// An error says that the gate has seen enough before it has seen all.
			fmt.Fprintf(s.Conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", test.coding, len(test.body), test.body)
			s.Close()
			resp, body := c.Response("GET")
			require.Equal(t, test.reason, g.record().Verdict.Reason)
			if test.reason != policy.Matched {
				require.Equal(t, 403, resp.StatusCode)
				return
			}
			require.Equal(t, test.body, body, "what is relayed is what came")
			require.Equal(t, test.coding, resp.Header.Get("Content-Encoding"))
		})
	}
}

func TestACodedBodyIsRecognisedAsItDrips(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "deflate"} {
		with := coding
		if coding == "deflate" {
			with = "zlib"
		}
		d := &download{codings: []string{coding}}
		body := encode(t, with, program)
		body = body[:min(len(body), headBytes)]
		settledAt := 0
		for n := range len(body) + 1 {
			family, settled := d.family([]byte(body[:n]), n == len(body))
			if settled && settledAt == 0 {
				settledAt = n
				require.Equal(t, policy.FamilyProgram, family, "%s, %d octets", coding, n)
			}
			if settledAt > 0 {
				require.True(t, settled)
			}
		}
		require.NotZero(t, settledAt, coding)
	}
}

func FuzzUncover(f *testing.F) {
	for _, seed := range []string{"", "\x1f\x8b", "\x1f\x8b\x08\x00", "x\x9c", program} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), headBytes)]
		for _, codings := range [][]string{{"gzip"}, {"deflate"}, {"br"}, {"gzip", "br", "deflate"}} {
			shown, _ := uncover(codings, b)
			if len(shown) > headBytes {
				t.Fatal(fmt.Sprint(len(shown), " octets are shown"))
			}
			d := &download{codings: codings}
			if _, settled := d.family(b, true); !settled {
				t.Fatal("the whole is never settled")
			}
		}
	})
}
