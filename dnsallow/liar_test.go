package dnsallow

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// TestWhatUpstreamsSay asks the filter while an upstream says, octet by octet, what
// a file of testdata/upstream has it say. testdata/upstream/README.md is how the
// files are written. Each is asked where nobody waits for the upstream but the
// postbox, and where a goroutine does.
func TestWhatUpstreamsSay(t *testing.T) {
	files, err := filepath.Glob("testdata/upstream/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		for how, cacheBytes := range map[string]int64{"by post": 1 << 20, "waited for": 0} {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+how, func(t *testing.T) {
				archive, err := txtar.ParseFile(file)
				require.NoError(t, err)
				said := readSaying(t, archive)
				up := newLiar(t, said)
				w := open(t, &nettest.DNS{Addr: up.addr}, schoolRules(t), func(_ *ServerConfig, d *ServerDeps) {
					d.Resolver = resolverTo(t, &nettest.DNS{Addr: up.addr}, newClock(), func(c *ResolverConfig) { c.CacheBytes = cacheBytes })
				})
				reply := w.ask(t, query(said.name, said.qtype))
				require.Equal(t, said.want, spelled(reply)+written(w)+up.said())
			})
		}
	}
}

// spelled is a reply in the words of the files: nothing in it goes unsaid.
func spelled(m *dns.Msg) string {
	lines := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		data := rr.String()[len(rr.Header().String()):]
		if soa, is := rr.(*dns.SOA); is {
			data = strconv.Itoa(int(soa.Minttl))
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %d %s", dns.TypeToString[rr.Header().Rrtype], rr.Header().Ttl, data)))
	}
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			lines = append(lines, "additional "+rr.String())
		}
	}
	if code, text := explained(m); code != 0 {
		reason, _, _ := strings.Cut(text, " ")
		lines = append(lines, fmt.Sprintf("EDE %d %s", code, reason))
	}
	return strings.Join(lines, "\n") + "\n"
}

// written is what the book says of the one question.
func written(w *window) string {
	var lines string
	for _, r := range w.book.all() {
		lines += fmt.Sprintf("log %s %s\n", r.Verdict, r.Verdict.Reason)
	}
	return lines
}

// saying is one file: what is asked, what is said to it, and what comes of it.
type saying struct {
	name  string
	qtype uint16
	says  map[string][][]string // by transport and name: packets, each a list of words
	want  string
}

func readSaying(t testing.TB, archive *txtar.Archive) *saying {
	t.Helper()
	require.NotEmpty(t, archive.Comment, "the comment says what is wrong with what is said")
	s := &saying{says: map[string][][]string{}}
	for _, f := range archive.Files {
		what, name, _ := strings.Cut(f.Name, " ")
		switch what {
		case "ask":
			words := strings.Fields(string(f.Data))
			require.Len(t, words, 2)
			s.name, s.qtype = words[0]+".", dns.StringToType[words[1]]
		case "udp", "tcp":
			if name == "" {
				name = strings.TrimSuffix(s.name, ".")
			}
			s.says[what+" "+name] = packetsOf(string(f.Data))
		case "want":
			s.want = string(f.Data)
		default:
			t.Fatalf("unknown section %q", f.Name)
		}
	}
	return s
}

// packetsOf splits a section into packets, at its empty lines, and those into words.
func packetsOf(text string) (packets [][]string) {
	packets = append(packets, nil)
	for line := range strings.Lines(text) {
		words, _, _ := strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			packets = append(packets, nil)
		}
		last := &packets[len(packets)-1]
		*last = append(*last, strings.Fields(words)...)
	}
	return packets
}

// spoken is a packet, in answer to a question.
func spoken(words []string, query []byte) ([]byte, error) {
	packet := []byte{}
	for _, word := range words {
		some, err := octets(word, query)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		packet = append(packet, some...)
	}
	return packet, nil
}

// octets are what a word stands for, in answer to a question.
func octets(word string, query []byte) ([]byte, error) {
	question := query[headerBytes:questionEnd(query)]
	times, repeated, isMany := strings.Cut(word, "*")
	addr, err := netip.ParseAddr(word)
	switch {
	case word == "ID":
		return query[:2], nil
	case word == "ID+1":
		return []byte{query[0], query[1] + 1}, nil
	case word == "QUESTION":
		return question, nil
	case word == "FLIPPED": // the question with each letter of its name upside down
		return append([]byte(swapCase(string(question[:len(question)-4]))), question[len(question)-4:]...), nil
	case word == "BARE": // over TCP: the packet brings its own length
		return []byte(word), nil
	case isMany:
		n, err := strconv.Atoi(times)
		if err != nil {
			return nil, err
		}
		one, err := octets(repeated, query)
		return slices.Repeat(one, n), err
	case strings.HasPrefix(word, `"`):
		text, err := strconv.Unquote(word)
		return []byte(text), err
	case word == ".":
		return []byte{0}, nil
	case strings.HasSuffix(word, "."):
		return appendName(nil, strings.TrimSuffix(word, "."), make([]byte, len(word))), nil
	case err == nil:
		return addr.AsSlice(), nil
	}
	return hex.DecodeString(word)
}

// liar is an upstream that says what a file has it say.
type liar struct {
	*saying
	t    *testing.T
	addr string

	mu    sync.Mutex
	asked []string
}

func newLiar(t *testing.T, s *saying) *liar {
	packets, streams := nettest.ListenDNS(t)
	l := &liar{saying: s, t: t, addr: packets.LocalAddr().String()}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		packets.Close()
		streams.Close()
		serving.Wait()
	})
	serving.Go(func() {
		room := make([]byte, payload)
		for {
			n, from, err := packets.ReadFromUDPAddrPort(room)
			if err != nil {
				return
			}
			for _, packet := range l.answer("udp", room[:n]) {
				packets.WriteToUDPAddrPort(packet, from)
			}
		}
	})
	serving.Go(func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			l.converse(conn)
		}
	})
	return l
}

// converse answers one question and hangs up.
func (l *liar) converse(conn net.Conn) {
	defer conn.Close()
	query, err := readFramed(conn, payload)
	if err != nil {
		return
	}
	for _, packet := range l.answer("tcp", query) {
		if bare, is := strings.CutPrefix(string(packet), "BARE"); is {
			conn.Write([]byte(bare))
		} else {
			writeFramed(conn, packet)
		}
	}
}

func (l *liar) answer(transport string, query []byte) (packets [][]byte) {
	name, _ := spell(query[headerBytes : questionEnd(query)-4])
	key := transport + " " + strings.TrimSuffix(name, ".")
	l.mu.Lock()
	l.asked = append(l.asked, "asked "+key)
	l.mu.Unlock()
	for _, words := range l.says[key] {
		packet, err := spoken(words, query)
		if err != nil {
			l.t.Error(err)
		}
		packets = append(packets, packet)
	}
	return packets
}

// said is who was asked what, in order.
func (l *liar) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(slices.Clone(l.asked), ""), "\n")
}

// FuzzWhatUpstreamsSay reads packets as if they had come to a question: whatever they
// say, what is believed of it stays within bounds.
func FuzzWhatUpstreamsSay(f *testing.F) {
	const name = "www.groupcall.co.uk"
	asked := appendName(make([]byte, headerBytes), name, make([]byte, len(name)))
	asked = append(asked, 0, byte(dns.TypeA), 0, dns.ClassINET)
	files, err := filepath.Glob("testdata/upstream/*.txtar")
	require.NoError(f, err)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(f, err)
		for _, packets := range readSaying(f, archive).says {
			for _, words := range packets {
				packet, err := spoken(words, asked)
				require.NoError(f, err)
				f.Add(packet)
			}
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		now := time.Unix(0, 0)
		if f := requireTheSameFacts(t, question{name, dns.TypeA}, packet, asked, now); f != nil {
			requireBounded(t, f, dns.TypeA)
		}
		l := letter{query: asked}
		reply, err := l.read(packet)
		if reply == nil || err != nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			f, err := collect(reply, question{name, qtype}, now)
			if err == nil {
				requireBounded(t, f, qtype)
			}
		}
	})
}

func requireBounded(t *testing.T, f *facts, qtype uint16) {
	t.Helper()
	require.LessOrEqual(t, len(f.aliases), maxLinks)
	require.LessOrEqual(t, len(f.addresses), maxAddresses)
	require.GreaterOrEqual(t, f.ttl, ttlFloor)
	require.LessOrEqual(t, f.ttl, ttlCeiling)
	require.False(t, f.nxdomain && len(f.addresses) > 0)
	seen := map[netip.Addr]bool{}
	for _, a := range f.addresses {
		require.Equal(t, qtype == dns.TypeA, a.addr.Is4())
		require.False(t, seen[a.addr], "an address counts once")
		seen[a.addr] = true
	}
	for _, a := range f.aliases {
		require.False(t, a.IsIP())
	}
}

// FuzzForwardedReplies has the server of a forwarded zone say anything: what is handed
// on can be written and read, and is about the zone.
func FuzzForwardedReplies(f *testing.F) {
	const name = "www.groupcall.co.uk."
	for _, text := range [][]string{
		{name + " 60 IN A 10.0.0.5"}, {name + " 60 IN CNAME dc1.groupcall.co.uk.", "dc1.groupcall.co.uk. 60 IN A 10.0.0.5"},
		{name + ` 60 IN TXT "a" "b\000c"`, name + " 60 IN SRV 0 1 389 evil.example."}, {"!groupcall.co.uk. 60 IN SOA . . 1 2 3 4 5"},
		{`a\.b\000.groupcall.co.uk. 60 IN MX 1 .`, name + " 60 IN SVCB 1 . ipv4hint=192.0.2.1"}, {"!. 60 IN SOA . . 1 2 3 4 5"},
	} {
		f.Add(packed(f, said(f, dns.RcodeSuccess, text...)))
	}
	z := Zone{Name: host(f, "groupcall.co.uk")}
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply := new(dns.Msg)
		if reply.Unpack(packet) != nil || !says(reply) {
			return
		}
		in, ok := readInquiry(packed(t, query(name, dns.TypeA)))
		require.True(t, ok)
		o := handedOn(in, z, question{strings.TrimSuffix(name, "."), dns.TypeA}, policy.Verdict{}, reply)
		d, err := o.draft(in, new(writer))
		if err != nil { // it is SERVFAIL
			return
		}
		m := new(dns.Msg)
		require.NoError(t, m.Unpack(d.finish(nil, in.packet, in.ask(), in.id, time.Unix(0, 0))))
		for _, rr := range m.Answer {
			owner := strings.ToLower(strings.TrimSuffix(rr.Header().Name, "."))
			require.True(t, z.holds(owner), owner)
		}
	})
}
