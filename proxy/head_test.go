package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// FuzzHead holds the strict reader against net/http's: what it accepts, net/http
// accepts and means the same by it. It may refuse more, and does.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{
		"GET http://www.example.org/a?b HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
		"POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 3\r\n\r\n",
		"POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
		"CONNECT www.example.org:443 HTTP/1.0\r\n\r\n",
		"GET http://www.example.org/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"OPTIONS http://[2001:db8::1]:8080 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: \tb \r\n\r\n",
		"\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://a/ HTTP/1.1\nHost: a\r\n\r\n",
		"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h requestHead
		raw, err := readHead(&wire{conn: spoken{r: bytes.NewReader(b)}}, nil, func(b []byte) (int, error) {
			return h.Parse(b, http1.Limits{HeadBytes: 4096})
		})
		if err != nil {
			return
		}
		h.understood()
		dest, flawed := h.readTarget()
		if flawed != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimLeft(raw, "\r\n"))))
		if err != nil {
			t.Fatalf("net/http refuses what was accepted: %v\n%q", err, raw)
		}
		length := r.ContentLength
		if r.Method != h.method || r.ProtoMinor != h.minor || (length == -1) != (h.Body.Kind == http1.Chunked) || length >= 0 && length != h.Body.Length {
			t.Fatalf("net/http reads another request: %+v, here %+v", r, h)
		}
		if host, port, err := net.SplitHostPort(r.URL.Host + portUnlessStated(r.URL.Host)); h.method != http.MethodConnect {
			theirs, bad := policy.ParseHost(host)
			if err != nil || bad != nil || theirs != dest.Host || port != strconv.Itoa(int(dest.Port)) {
				t.Fatalf("net/http goes to %q, here %v", r.URL.Host, dest)
			}
		}
		if r.Close != h.closes() && !h.Has(http1.ProxyConnection) {
			t.Fatalf("net/http closes: %v, here: %v\n%q", r.Close, h.closes(), raw)
		}
	})
}

// portUnlessStated is the port of http where an authority states none.
func portUnlessStated(authority string) string {
	switch i := strings.LastIndexByte(authority, ':'); {
	case i < 0 || strings.HasSuffix(authority, "]"):
		return ":80"
	case i == len(authority)-1:
		return "80"
	}
	return ""
}

func TestTheTargetNamesTheDestination(t *testing.T) {
	for text, want := range map[string]string{
		"www.example.org":      "www.example.org:80",
		"www.example.org:":     "www.example.org:80", // RFC 3986, section 3.2.3
		"WWW.Example.ORG.:443": "www.example.org:443",
		"192.0.2.1:8080":       "192.0.2.1:8080",
		"[2001:db8::1]:443":    "[2001:db8::1]:443",
		"[2001:db8::1]":        "[2001:db8::1]:80",
		"":                     "", ":80": "", "a:0": "", "a:080": "", "a:65536": "", "a:+80": "", "a:8 0": "",
		"u@a": "", "u:p@a:80": "", "2001:db8::1": "", "[::ffff:192.0.2.1]:80": "", "[2001:db8::1": "", "2130706433": "", "127.1": "", "a b": "",
	} {
		var h requestHead
		n, err := h.Parse([]byte("GET http://"+text+"/ HTTP/1.0\r\n\r\n"), http1.Limits{})
		dest, flawed := policy.Dest{}, (*flaw)(nil)
		if err == nil && n > 0 {
			dest, flawed = h.readTarget()
		}
		require.Equal(t, want != "", err == nil && flawed == nil, text)
		if want != "" {
			require.Equal(t, want, dest.String(), text)
		}
	}
}

func TestFamilies(t *testing.T) {
	for _, test := range []struct {
		name, bytes string
		whole       bool
		family      policy.Family
		settled     bool
	}{
		{"a Windows program", "MZ\x90\x00", false, policy.FamilyProgram, true},
		{"an ELF program", "\x7fELF\x02", false, policy.FamilyProgram, true},
		{"an installer package", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", false, policy.FamilyProgram, true},
		{"a Mach-O program", "\xcf\xfa\xed\xfe\x07", false, policy.FamilyProgram, true},
		{"a script", "#!/bin/sh\n", false, policy.FamilyProgram, true},
		{"a zip", "PK\x03\x04\x14", false, policy.FamilyArchive, true},
		{"an empty zip", "PK\x05\x06\x00", false, policy.FamilyArchive, true},
		{"a cabinet", "MSCF\x00", false, policy.FamilyArchive, true},
		{"gzip", "\x1f\x8b\x08", false, policy.FamilyArchive, true},
		{"7z", "7z\xbc\xaf\x27\x1c", false, policy.FamilyArchive, true},
		{"a shortcut", "\x4c\x00\x00\x00\x01\x14\x02\x00\x00", false, policy.FamilyProgram, true},
		{"xz", "\xfd7zXZ\x00\x00", false, policy.FamilyArchive, true},
		{"zstd", "\x28\xb5\x2f\xfd\x24", false, policy.FamilyArchive, true},
		{"a PDF, which is neither", "%PDF-1.7\n", false, policy.FamilyUnknown, true},
		{"a percent sign and no PDF", "%PDE", true, policy.FamilyText, true},
		{"rar", "Rar!\x1a\x07\x01", false, policy.FamilyArchive, true},
		{"html", "<!DOCTYPE html>", true, policy.FamilyMarkup, true},
		{"xml behind a byte order mark", "\xef\xbb\xbf<?xml version", true, policy.FamilyMarkup, true},
		{"html in UTF-16", "\xff\xfe<\x00h\x00t\x00", true, policy.FamilyMarkup, true},
		{"text", "[Version]\r\nSignature=\"$Windows NT$\"\r\n", true, policy.FamilyText, true},
		{"text in UTF-8", "größer", true, policy.FamilyText, true},
		{"text cut inside a character", "größer gr\xc3", true, policy.FamilyText, true},
		{"text in a Windows code page", "gr\xf6\xdfer als alles andere", true, policy.FamilyText, true},
		{"text in UTF-16", "\xfe\xff\x00a\x00b", true, policy.FamilyText, true},
		{"text that is less than", "< 3", true, policy.FamilyText, true},
		{"binary data", "\x00\x01\x02\x03", false, policy.FamilyUnknown, true},
		{"compressed data", "x\x9c\xed\xbd\x07`\x1cI\x96%&/m\xca{\x7fJ\xf5", false, policy.FamilyUnknown, true},
		{"nothing yet", "", false, policy.FamilyUnknown, false},
		{"the beginning of many things", "M", false, policy.FamilyUnknown, false},
		{"an M and no more", "M", true, policy.FamilyText, true},
		{"an empty body", "", true, policy.FamilyUnknown, true},
		{"text so far", "hello", false, policy.FamilyText, false},
	} {
		family, settled := classify([]byte(test.bytes), test.whole)
		require.Equal(t, test.family, family, test.name)
		require.Equal(t, test.settled, settled, test.name)
	}
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte("PK\x03\x04text"))
	f.Add([]byte("\xff\xfe<\x00h\x00"))
	f.Add([]byte("plain text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > headBytes {
			return
		}
		final, settled := classify(b, true)
		if !settled {
			t.Fatal("the whole is never settled")
		}
		for n := range b {
			if family, settled := classify(b[:n], false); settled && family != policy.FamilyUnknown && family != final {
				t.Fatalf("%d of %d bytes were settled as %v, all are %v", n, len(b), family, final)
			}
		}
	})
}

// spoken is a connection whose peer has said something, and then no more.
type spoken struct {
	net.Conn
	r io.Reader
}

func (s spoken) Read(p []byte) (int, error) { return s.r.Read(p) }
