package dnsallow

import (
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestEveryRowOfTheResponseCodes(t *testing.T) {
	up := nettest.NewDNS(t, append(schoolZone, "strict.example.org. 9 IN CNAME www.groupcall.co.uk.")...)
	up.Handle("fails.groupcall.co.uk", nettest.Rcode(dns.RcodeServerFailure))
	up.Handle("lies.groupcall.co.uk", func(w dns.ResponseWriter, q *dns.Msg) {
		m := up.Honest(q)
		m.Question[0].Name = "else.example.org."
		w.WriteMsg(m)
	})
	w := open(t, up, schoolRules(t))
	for what, c := range map[string]struct {
		name   string
		qtype  uint16
		rcode  int
		want   []string
		ede    uint16
		reason policy.Reason
		effect string
		asked  int // upstream questions
	}{
		"a permitted name is answered with its judged addresses": {"emergeen.servicebus.windows.net.", dns.TypeA, dns.RcodeSuccess,
			[]string{"CNAME ns-sb2-prod-db3-001.cloudapp.net.", "A 13.74.107.71"}, 0, policy.Matched, "allowed", 1},
		"and over IPv6": {"emergeen.servicebus.windows.net.", dns.TypeAAAA, dns.RcodeSuccess,
			[]string{"CNAME ns-sb2-prod-db3-001.cloudapp.net.", "AAAA 2603:1020:5::7"}, 0, policy.Matched, "allowed", 1},
		"a name that is not permitted does not exist": {"other.servicebus.windows.net.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"a name that is not permitted does not exist, whatever the type": {"other.servicebus.windows.net.", dns.TypeTXT, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"nor for ANY": {"other.servicebus.windows.net.", dns.TypeANY, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"the look-alike is refused": {"emergeen.servcebus.windows.net.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"the name below a stranger's domain is refused": {"emergeen.servicebus.windows.net.evil.example.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"an alias target asked for by itself is refused": {"ns-sb2-prod-db3-001.cloudapp.net.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"a denied name does not exist": {"blocked.groupcall.co.uk.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.DeniedByRule, "denied", 0},
		"all addresses refused: no data": {"west.servicebus.windows.net.", dns.TypeA, dns.RcodeSuccess,
			nil, 15, policy.AddressNotAllowed, "denied", 1},
		"a public name that leads into the school: no data": {"rebind.groupcall.co.uk.", dns.TypeA, dns.RcodeSuccess,
			nil, 15, policy.AddressNotAllowed, "denied", 1},
		"an alias refused: no data": {"strict.example.org.", dns.TypeA, dns.RcodeSuccess,
			nil, 15, policy.AliasNotAllowed, "denied", 1},
		"ANY is answered minimally": {"www.groupcall.co.uk.", dns.TypeANY, dns.RcodeSuccess,
			[]string{`HINFO "RFC8482" ""`}, 0, policy.QueryTypeNotAllowed, "denied", 0},
		"type 65 with its hints: no data": {"www.groupcall.co.uk.", dns.TypeHTTPS, dns.RcodeSuccess,
			nil, 15, policy.QueryTypeNotAllowed, "denied", 0},
		"any other type: no data": {"www.groupcall.co.uk.", dns.TypeTXT, dns.RcodeSuccess,
			nil, 15, policy.QueryTypeNotAllowed, "denied", 0},
		"an unknown type: no data": {"www.groupcall.co.uk.", 65280, dns.RcodeSuccess,
			nil, 15, policy.QueryTypeNotAllowed, "denied", 0},
		"type 0, which asks for nothing: no data": {"www.groupcall.co.uk.", dns.TypeNone, dns.RcodeSuccess,
			nil, 15, policy.QueryTypeNotAllowed, "denied", 0},
		"a canary does not exist even where its domain is allowed": {"mask.icloud.com.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.Canary, "denied", 0},
		"nor for type 65": {"mask.icloud.com.", dns.TypeHTTPS, dns.RcodeNameError,
			nil, 15, policy.Canary, "denied", 0},
		"Firefox's canary": {"use-application-dns.net.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.Canary, "denied", 0},
		"a zone transfer is refused": {"www.groupcall.co.uk.", dns.TypeAXFR, dns.RcodeRefused,
			nil, 0, policy.QueryTypeNotAllowed, "denied", 0},
		"an incremental one too": {"www.groupcall.co.uk.", dns.TypeIXFR, dns.RcodeRefused,
			nil, 0, policy.QueryTypeNotAllowed, "denied", 0},
		"a permitted name that does not exist": {"none.groupcall.co.uk.", dns.TypeA, dns.RcodeNameError,
			nil, 0, policy.UpstreamUnresolved, "allowed", 1},
		"a permitted name without an address of the family": {"www.groupcall.co.uk.", dns.TypeAAAA, dns.RcodeSuccess,
			nil, 0, policy.Matched, "allowed", 1},
		"an upstream that fails": {"fails.groupcall.co.uk.", dns.TypeA, dns.RcodeServerFailure,
			nil, 22, policy.UpstreamUnresolved, "allowed", 2},
		"an upstream that answers something else": {"lies.groupcall.co.uk.", dns.TypeA, dns.RcodeServerFailure,
			nil, 23, policy.UpstreamUnresolved, "allowed", 4},
		"the root": {".", dns.TypeNS, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"an address literal as a name": {"10.20.0.5.", dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
		"a name no host can have": {`w\000w.groupcall.co.uk.`, dns.TypeA, dns.RcodeNameError,
			nil, 15, policy.HostNotListed, "denied", 0},
	} {
		t.Run(what, func(t *testing.T) {
			before := up.Asked("", "")
			m := query(c.name, c.qtype)
			reply := w.ask(t, m)
			require.Equal(t, dns.RcodeToString[c.rcode], dns.RcodeToString[reply.Rcode])
			require.Equal(t, append([]string{}, c.want...), answers(reply))
			require.Equal(t, m.Question, reply.Question)
			require.Equal(t, m.Id, reply.Id)
			require.True(t, reply.RecursionAvailable)
			require.False(t, reply.Authoritative)
			require.Len(t, reply.Extra, 1, "nothing but the OPT")

			record := w.book.only(t)
			require.Equal(t, c.reason.String(), record.Verdict.Reason.String())
			require.Equal(t, c.effect, record.Verdict.String())
			code, text := explained(reply)
			require.Equal(t, c.ede, code)
			if c.ede != 0 {
				require.Equal(t, c.reason.String()+" "+record.ID, text)
			}
			require.Equal(t, c.asked, up.Asked("", "")-before)
			requireSOA(t, reply)
		})
	}
}

// requireSOA holds a negative answer to its SOA, and any other to having
// nothing in the authority section.
func requireSOA(t *testing.T, reply *dns.Msg) {
	t.Helper()
	if len(reply.Answer) > 0 || reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		require.Empty(t, reply.Ns)
		return
	}
	require.Len(t, reply.Ns, 1)
	soa, ok := reply.Ns[0].(*dns.SOA)
	require.True(t, ok)
	require.Equal(t, soa.Hdr.Ttl, soa.Minttl)
	if code, _ := explained(reply); code == dns.ExtendedErrorCodeBlocked {
		require.Equal(t, uint32(60), soa.Minttl)
	} else {
		require.Equal(t, uint32(30), soa.Minttl, "upstream's own")
	}
}

func TestAnUpstreamThatNeverAnswersIsSERVFAIL(t *testing.T) {
	up := nettest.NewDNS(t)
	up.Handle("www.groupcall.co.uk", nettest.Silence)
	var seen observations
	w := open(t, up, schoolRules(t), func(_ *ServerConfig, d *ServerDeps) {
		config := ResolverConfig{Upstreams: []Upstream{upstream(t, up.Addr)}, Total: patience, Hedge: patience}
		hasty(&config)
		d.Resolver = NewResolver(config, ResolverDeps{Observe: seen.note})
	})
	reply := w.ask(t, query("www.groupcall.co.uk.", dns.TypeA))
	require.Equal(t, dns.RcodeServerFailure, reply.Rcode)
	code, text := explained(reply)
	require.Equal(t, dns.ExtendedErrorCodeNoReachableAuthority, code)
	record := w.book.only(t)
	require.Equal(t, "upstream-unresolved "+record.ID, text)
	require.Equal(t, "allowed", record.Verdict.String())
	// On a slow machine the time of an attempt may be over before its packet goes.
	require.Equal(t, slices.Repeat([]string{up.Addr + " failed"}, rounds), seen.list)
}

func TestWithoutEDNSNothingExtendedIsSaid(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	reply := w.ask(t, new(dns.Msg).SetQuestion("other.servicebus.windows.net.", dns.TypeA))
	require.Equal(t, dns.RcodeNameError, reply.Rcode)
	require.Empty(t, reply.Extra)
	require.Len(t, reply.Ns, 1)
}

func TestNoPolicyRefusesEverything(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	w := open(t, up, nil)
	reply := w.ask(t, query("www.groupcall.co.uk.", dns.TypeA))
	require.Equal(t, dns.RcodeRefused, reply.Rcode)
	code, text := explained(reply)
	require.Equal(t, dns.ExtendedErrorCodeBlocked, code)
	require.True(t, strings.HasPrefix(text, "no-policy GH-"), text)
	require.Equal(t, policy.NoPolicy, w.book.only(t).Verdict.Reason)
	require.Zero(t, up.Asked("", ""))
}

// Loopback is always a permitted client, so a stranger's packet is handed to
// the server as if a socket had read it.
func TestAStrangerIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	w := open(t, up, schoolRules(t))
	for what, packet := range map[string][]byte{
		"a question": packed(t, query("www.groupcall.co.uk.", dns.TypeA)),
		"an update":  packed(t, new(dns.Msg).SetUpdate("groupcall.co.uk.")),
		"rubbish":    append(packed(t, query("www.groupcall.co.uk.", dns.TypeA))[:14], 0xff),
	} {
		t.Run(what, func(t *testing.T) {
			reply := w.read(t, w.respond(t.Context(), packet, &net.UDPAddr{IP: stranger.AsSlice(), Port: 4711}, false))
			require.Equal(t, dns.RcodeRefused, reply.Rcode)
			require.Empty(t, reply.Answer)
			if what == "a question" {
				code, text := explained(reply)
				require.Equal(t, dns.ExtendedErrorCodeProhibited, code)
				require.True(t, strings.HasPrefix(text, "client-not-listed GH-"), text)
			}
			record := w.book.only(t)
			require.Equal(t, policy.ClientNotListed, record.Verdict.Reason)
			require.Equal(t, stranger, record.Client)
		})
	}
	require.Zero(t, up.Asked("", ""))
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	require.NoError(t, err)
	return wire
}

func TestPacketsThatAreNotOneProperQuestion(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	w := open(t, up, schoolRules(t))
	good := packed(t, query("www.groupcall.co.uk.", dns.TypeA))
	change := func(at int, b ...byte) []byte {
		p := append([]byte(nil), good...)
		copy(p[at:], b)
		return p
	}
	twoOPT := query("www.groupcall.co.uk.", dns.TypeA)
	twoOPT.Extra = append(twoOPT.Extra, twoOPT.Extra[0])
	named := query("www.groupcall.co.uk.", dns.TypeA)
	named.Extra[0].Header().Name = "x."
	version := query("www.groupcall.co.uk.", dns.TypeA)
	version.IsEdns0().SetVersion(1)
	chaos := query("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	signed := query("www.groupcall.co.uk.", dns.TypeA)
	signed.Answer = []dns.RR{&dns.HINFO{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeHINFO, Class: dns.ClassINET}}}
	misplaced := query("www.groupcall.co.uk.", dns.TypeA)
	misplaced.Ns, misplaced.Extra = misplaced.Extra, nil
	bare := packed(t, new(dns.Msg).SetQuestion("www.groupcall.co.uk.", dns.TypeA))
	update := new(dns.Msg).SetUpdate("groupcall.co.uk.")
	update.Ns = slices.Repeat([]dns.RR{&dns.HINFO{Hdr: dns.RR_Header{Name: "x.groupcall.co.uk.", Rrtype: dns.TypeHINFO, Class: dns.ClassINET}}}, 100)
	const formErr, notImp = dns.RcodeFormatError, dns.RcodeNotImplemented
	for what, c := range map[string]struct {
		packet []byte
		rcode  int
	}{
		"no question":                          {change(4, 0, 0), formErr},
		"two questions announced":              {change(4, 0, 2), formErr},
		"a header alone":                       {good[:12], formErr},
		"a name that never ends":               {good[:20], formErr},
		"a label of reserved type":             {change(12, 0x80), formErr},
		"a name that points to itself":         {change(12, 0xc0, 12), formErr},
		"a record that is cut off":             {good[:len(good)-3], formErr},
		"an OPT record in another section":     {packed(t, misplaced), formErr},
		"a record that does not come":          {append(bare[:11:11], append([]byte{1}, bare[12:]...)...), formErr},
		"no type":                              {bare[:len(bare)-4], formErr},
		"no class":                             {bare[:len(bare)-2], formErr},
		"a name that is further on":            {further(bare), formErr},
		"two OPT records":                      {packed(t, twoOPT), formErr},
		"an OPT record with a name":            {packed(t, named), formErr},
		"a question that brings its answer":    {packed(t, signed), formErr},
		"more records than a question has":     {change(10, 0, 3), formErr},
		"5,900 records":                        {crowd(good), formErr},
		"65,535 questions":                     {change(4, 0xff, 0xff), formErr},
		"an update with 100 records":           {packed(t, update), notImp},
		"opcode NOTIFY":                        {change(2, 4<<3), notImp},
		"opcode STATUS":                        {change(2, 2<<3), notImp},
		"opcode UPDATE":                        {change(2, 5<<3), notImp},
		"a later version of EDNS":              {packed(t, version), dns.RcodeBadVers},
		"class CHAOS":                          {packed(t, chaos), dns.RcodeRefused},
		"an opcode nobody knows, then rubbish": {append(change(2, 15<<3)[:15], 0xff), notImp},
	} {
		t.Run(what, func(t *testing.T) {
			reply := w.read(t, w.raw(t, c.packet, patience))
			require.Equal(t, dns.RcodeToString[c.rcode], dns.RcodeToString[reply.Rcode])
			require.Equal(t, uint16(c.packet[0])<<8|uint16(c.packet[1]), reply.Id)
			require.Empty(t, reply.Answer)
			record := w.book.only(t)
			require.Equal(t, policy.BadRequest, record.Verdict.Reason)
			require.Equal(t, "denied", record.Verdict.String())
		})
	}
	require.Zero(t, up.Asked("", ""))
}

// further is a question whose name is a pointer to what follows the question.
func further(question []byte) []byte {
	p := append(question[:headerBytes:headerBytes], 0xc0, headerBytes+6, 0, 1, 0, 1)
	return append(p, question[headerBytes:]...)
}

// crowd is a question with as many records as a datagram has room for, each
// named by a pointer to the question.
func crowd(question []byte) []byte {
	const records = 5400
	p := append([]byte(nil), question[:len(question)-11]...)
	binary.BigEndian.PutUint16(p[10:], records)
	for range records {
		p = append(p, 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0)
	}
	return p
}

func TestAPacketFullOfRecordsCostsNoMoreThanItsHeader(t *testing.T) {
	packet := crowd(packed(t, query("www.groupcall.co.uk.", dns.TypeA)))
	require.Less(t, testing.AllocsPerRun(10, func() { readInquiry(packet) }), 20.0)
}

func TestResponsesAndCrumbsAreDropped(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	response := packed(t, query("www.groupcall.co.uk.", dns.TypeA))
	response[2] |= flagResponse
	from := &net.UDPAddr{IP: loopback.AsSlice(), Port: 4711}
	for what, packet := range map[string][]byte{
		"a response": response, "nothing": {}, "eleven octets": response[:11],
	} {
		require.Nil(t, w.respond(t.Context(), packet, from, false), what)
	}
	require.Empty(t, w.book.all())
}
