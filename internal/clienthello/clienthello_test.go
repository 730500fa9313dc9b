package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// write is a ClientHello as crypto/tls writes it, in one record.
func write(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	config.InsecureSkipVerify = true
	near, far := net.Pipe()
	defer far.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer near.Close()
		tls.Client(near, config).Handshake() // ends when far closes
	}()
	defer func() { far.Close(); <-done }()
	head := make([]byte, 5)
	_, err := io.ReadFull(far, head)
	require.NoError(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(far, body)
	require.NoError(t, err)
	return append(head, body...)
}

func manyProtocols(n int) *tls.Config {
	config := &tls.Config{ServerName: "www.example.org"}
	for i := range n {
		config.NextProtos = append(config.NextProtos, fmt.Sprintf("protocol-%05d", i))
	}
	return config
}

// split cuts the one record of a hello into records of n bytes.
func split(hello []byte, n int) (out []byte) {
	for rest := hello[5:]; len(rest) > 0; {
		piece := rest[:min(n, len(rest))]
		rest = rest[len(piece):]
		out = append(out, hello[0], hello[1], hello[2], byte(len(piece)>>8), byte(len(piece)))
		out = append(out, piece...)
	}
	return out
}

// large is a hello of nearly 64 KiB: its message padded by an extension nobody
// knows (RFC 8701), in records of the largest size.
func large(t testing.TB) []byte {
	message := bytes.Clone(write(t, &tls.Config{ServerName: "www.example.org"})[5:])
	padding := make([]byte, 60000)
	extension := append([]byte{0x0a, 0x0a, byte(len(padding) >> 8), byte(len(padding) & 0xff)}, padding...)
	// message: type(1) length(3) version(2) random(32) session(1+n) suites(2+n)
	// compression(1+n) extensions(2+n)
	at := 4 + 2 + 32
	at += 1 + int(message[at])
	at += 2 + int(message[at])<<8 + int(message[at+1])
	at += 1 + int(message[at])
	n := int(message[at])<<8 + int(message[at+1]) + len(extension)
	message[at], message[at+1] = byte(n>>8), byte(n)
	message = append(message, extension...)
	n = len(message) - 4
	message[1], message[2], message[3] = byte(n>>16), byte(n>>8), byte(n)
	return split(append([]byte{22, 3, 1, 0, 0}, message...), 16384)
}

func TestAHelloIsReadAndGivenBack(t *testing.T) {
	usual := write(t, &tls.Config{ServerName: "www.example.org", NextProtos: []string{"h2", "http/1.1"}})
	for _, test := range []struct {
		name  string
		bytes []byte
		sni   string
	}{
		{"of usual size", usual, "www.example.org"},
		{"in records of one byte", split(usual, 1), "www.example.org"},
		{"in records of 100 bytes", split(usual, 100), "www.example.org"},
		{"of 9 KiB", write(t, manyProtocols(600)), "www.example.org"},
		{"of nearly 64 KiB", large(t), "www.example.org"},
		{"without a server name", write(t, &tls.Config{}), ""},
		{"of TLS 1.0 at most", write(t, &tls.Config{ServerName: "old.example.org", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), "old.example.org"},
		{"with bytes behind it", append(bytes.Clone(usual), "more"...), "www.example.org"},
	} {
		for how, r := range map[string]io.Reader{
			"at once":      bytes.NewReader(test.bytes),
			"byte by byte": iotest.OneByteReader(bytes.NewReader(test.bytes)),
		} {
			t.Run(test.name+", "+how, func(t *testing.T) {
				hello, raw, err := Read(r)
				require.NoError(t, err)
				require.Equal(t, test.sni, hello.ServerName)
				rest, err := io.ReadAll(r)
				require.NoError(t, err)
				require.Equal(t, test.bytes, append(raw, rest...), "bytes were lost")
			})
		}
	}
	hello, _, err := Read(bytes.NewReader(usual))
	require.NoError(t, err)
	require.Equal(t, []string{"h2", "http/1.1"}, hello.Protocols)
	require.Contains(t, hello.Versions, uint16(tls.VersionTLS13))
}

func TestWhatIsNoHelloIsGivenBackToo(t *testing.T) {
	usual := write(t, &tls.Config{ServerName: "www.example.org"})
	silent := errors.New("silence")
	for _, test := range []struct {
		name string
		r    io.Reader
		raw  string
		err  error
	}{
		{"another protocol, told by its first byte", io.MultiReader(bytes.NewReader([]byte("S")), iotest.ErrReader(silent)), "S", ErrNotTLS},
		{"a record that is no handshake", bytes.NewReader([]byte("\x17\x03\x03\x00\x05hello")), "\x17\x03\x03\x00\x05hello", ErrNotTLS},
		{"an old SSL version", bytes.NewReader([]byte("\x16\x02\x00\x00\x05")), "\x16\x02\x00\x00\x05", ErrNotTLS},
		{"a handshake message that is no hello", bytes.NewReader([]byte("\x16\x03\x01\x00\x04\x02\x00\x00\x00")), "\x16\x03\x01\x00\x04\x02\x00\x00\x00", ErrNotTLS},
		{"nothing", bytes.NewReader(nil), "", io.EOF},
		{"half a hello and the end", bytes.NewReader(usual[:50]), string(usual[:50]), io.ErrUnexpectedEOF},
		{"half a hello and silence", io.MultiReader(bytes.NewReader(usual[:50]), iotest.ErrReader(silent)), string(usual[:50]), silent},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, raw, err := Read(test.r)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.raw, string(raw))
		})
	}
}

// endless is a client that never comes to the end of its hello.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "\x16\x03\x01\x00\x01\x01"[e.n%6] // one byte in each record
		e.n++
	}
	return len(p), nil
}

func TestAnEndlessHelloIsBounded(t *testing.T) {
	_, raw, err := Read(&endless{})
	require.ErrorIs(t, err, ErrNotTLS)
	require.LessOrEqual(t, len(raw), MaxBytes)
}

func FuzzRead(f *testing.F) {
	usual := write(f, &tls.Config{ServerName: "www.example.org"})
	f.Add(usual)
	f.Add(split(usual, 7))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, raw, err := Read(bytes.NewReader(b))
		if !bytes.HasPrefix(b, raw) {
			t.Fatal("what is given back is not what came")
		}
		split, _, splitErr := Read(iotest.OneByteReader(bytes.NewReader(b)))
		if (err == nil) != (splitErr == nil) || err == nil && whole.ServerName != split.ServerName {
			t.Fatalf("the splitting matters: %v %q, %v %q", err, whole.ServerName, splitErr, split.ServerName)
		}
	})
}
