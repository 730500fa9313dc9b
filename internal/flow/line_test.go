package flow

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// fields are the fields of the decision log, in their order: a contract, but for
// the last, which came later.
const fields = "ts, id, surface, client, group, user, host, cname, ip, port, protocol, method, path, type, upload, " +
	"verdict, would, reason, rule, rule_line, pack, policy_sha, sent, received, first_byte_ms, dur_ms, end, status"

func at() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.FixedZone("", 3600)) }

func request() *Record {
	return &Record{
		ID: "GH-0A1B2C3D", Time: at(), Surface: policy.HTTP, Client: netip.MustParseAddr("10.20.0.5"),
		Group: "emerge", Host: "www.example.org", CNAME: []string{"a.example.net", "b.example.net"},
		IP: netip.MustParseAddr("192.0.2.7"), Port: 80, Protocol: policy.PlainHTTP, Method: "GET", Path: "/update.inf",
		Type: "text/plain", Status: 200,
		Verdict: policy.Verdict{Effect: policy.Allow, Reason: policy.Matched,
			Rule: &policy.Rule{Name: "emerge-server/updates", Pack: "emerge-server", Line: 12}},
		PolicySHA: "abcd", Sent: 0, Received: 1234, FirstByte: 1500 * time.Microsecond, Duration: 12 * time.Millisecond, End: "done",
	}
}

func refusal() *Record {
	return &Record{
		ID: "GH-0A1B2C3E", Time: at(), Surface: policy.CONNECT, Client: netip.MustParseAddr("2001:db8::5"),
		Host: "evil.example", Port: 443, Protocol: policy.TLS, Type: "text/html", Status: 403,
		Verdict: policy.Verdict{Reason: policy.HostNotListed}, Received: 3441, End: "refused",
	}
}

func question() *Record {
	return &Record{
		ID: "GH-0A1B2C3F", Time: at(), Surface: policy.DNS, Client: netip.MustParseAddr("10.20.0.5"),
		Host: "x.servicebus.windows.net", Query: "AAAA", Verdict: policy.Verdict{Reason: policy.HostNotListed}, End: "refused",
	}
}

func TestJSONHasExactlyTheFieldsOfTheContractInTheirOrder(t *testing.T) {
	for _, r := range []*Record{request(), refusal(), question(), {}} {
		line := JSON(nil, r)
		require.Equal(t, byte('\n'), line[len(line)-1])
		dec := json.NewDecoder(strings.NewReader(string(line)))
		var names []string
		_, err := dec.Token()
		require.NoError(t, err)
		for dec.More() {
			name, err := dec.Token()
			require.NoError(t, err)
			names = append(names, name.(string))
			var value json.RawMessage
			require.NoError(t, dec.Decode(&value))
		}
		require.Equal(t, fields, strings.Join(names, ", "))
	}
}

func TestOnlyALineOfTLSThatCouldNotBeLookedIntoSaysWhy(t *testing.T) {
	r := request()
	require.NotContains(t, string(JSON(nil, r)), `"fault"`)
	r.Fault, r.Detail = Expired, `The certificate of "x" expired.`
	line := JSON(nil, r)
	require.Contains(t, string(line), `,"fault":"expired","detail":"The certificate of \"x\" expired."}`)
	back, err := ParseLine(line)
	require.NoError(t, err)
	require.Equal(t, r.Fault, back.Fault)
	require.Equal(t, r.Detail, back.Detail)
}

func TestLinesAreAsTheGoldenFileHasThem(t *testing.T) {
	open := request()
	open.Open = true
	inspected, missed, rubbish, tunnel := request(), request(), refusal(), refusal()
	inspected.Protocol, inspected.Port, inspected.User = policy.TLS, 443, "a user"
	missed.Port, missed.End, missed.Host = 8080, "client-closed", "2001:db8::7"
	rubbish.Surface, rubbish.Host, rubbish.Status = policy.HTTP, "", 400
	tunnel.Verdict = policy.Verdict{Effect: policy.Allow, Would: true, Reason: policy.PortNotListed}
	tunnel.Status, tunnel.IP, tunnel.Type = 200, netip.MustParseAddr("192.0.2.9"), ""
	answered := question()
	answered.Verdict, answered.IP = policy.Verdict{Effect: policy.Allow, Reason: policy.Matched}, netip.MustParseAddr("192.0.2.1")
	var got []byte
	for _, r := range []*Record{request(), open, inspected, missed, refusal(), rubbish, tunnel, question(), answered} {
		got = Squid(JSON(got, r), r)
	}
	const golden = "testdata/lines.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestSquidWritesTheRefusalThatSquidItselfWrites(t *testing.T) {
	// A line of Squid 5.7's own access.log, but for host and client.
	r := refusal()
	r.Time, r.Client = time.UnixMilli(1795319301441), netip.MustParseAddr("127.0.0.1")
	require.Equal(t, "1795319301.441      0 127.0.0.1 TCP_DENIED/403 3441 CONNECT evil.example:443 - HIER_NONE/- text/html\n",
		string(Squid(nil, r)))
}

func TestSquidWritesAURLAsItWasEncoded(t *testing.T) {
	r := request()
	r.Path = "/a%20b%0A c"
	require.Contains(t, string(Squid(nil, r)), "/a%20b%0A%20c ", "what was encoded is not encoded again")
}

func TestWhatCameFromTheWireIsCappedAndEscaped(t *testing.T) {
	r := request()
	r.Path = "/" + strings.Repeat("ä", 400) + "\n{\"id\":\"forged\"}"
	r.Host = "evil\x1b[2J\"\\\u202e\xff\U000e0001.example"
	var line struct{ Host, Path string }
	out := JSON(nil, r)
	require.NoError(t, json.Unmarshal(out, &line))
	require.LessOrEqual(t, len(line.Path), MaxField)
	require.True(t, utf8.ValidString(line.Path))
	require.Equal(t, "evil\x1b[2J\"\\\u202e\ufffd\U000e0001.example", line.Host, "escaped, and read back as it was")
	require.NotContains(t, string(out), "\x1b")
	require.NotContains(t, string(out), "\u202e")

	squid := string(Squid(nil, r))
	require.Equal(t, 1, strings.Count(squid, "\n"))
	require.Len(t, strings.Fields(squid), 10, "a field from the wire adds no field")
}

func FuzzJSON(f *testing.F) {
	f.Add("www.example.org", "/path")
	f.Add("\x00\x7f\x80\xff\u2028", "\U0010ffff\"\\")
	f.Fuzz(func(t *testing.T, host, path string) {
		r := request()
		r.Host, r.Path, r.CNAME = host, path, []string{path, host}
		line := JSON(nil, r)
		require.True(t, json.Valid(line), "%q", line)
		require.Equal(t, 1, strings.Count(string(line), "\n"))
		require.Len(t, strings.Fields(string(Squid(nil, r))), 10)
	})
}

func BenchmarkLine(b *testing.B) {
	denied := refusal()
	denied.PolicySHA = strings.Repeat("0a", 32)
	for _, c := range []struct {
		name   string
		format Format
		r      *Record
	}{
		{"request", NewJSON(), request()}, {"refusal", NewJSON(), denied}, {"refusal unprepared", JSON, denied},
		{"refusal syslog", Syslog(SyslogHeader{Hostname: "gate", Version: "1.0", PID: 812}), denied}, {"refusal squid", Squid, denied},
	} {
		b.Run(c.name, func(b *testing.B) {
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				buf = c.format(buf[:0], c.r)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func TestMomentsAndDurationsAreWrittenAsTheGeneralWayWritesThem(t *testing.T) {
	slow := func(dst []byte, d time.Duration) []byte {
		return strconv.AppendFloat(dst, float64(d.Microseconds())/1000, 'f', -1, 64)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-1<<36, 1<<38).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond"))
		require.Equal(t, at.UTC().Format(`"2006-01-02T15:04:05.000Z"`), string(appendTime(nil, at)))
		d := time.Duration(rapid.Int64Range(-1<<50, 1<<58).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "round") {
			d = d.Truncate(time.Millisecond)
		}
		require.Equal(t, string(slow(nil, d)), string(appendMillis(nil, d)))
	})
}

func TestOnlyALineOfRepeatsSaysHowMany(t *testing.T) {
	r := question()
	require.NotContains(t, string(JSON(nil, r)), "repeats")
	r.Repeats = 41
	require.Contains(t, string(JSON(nil, r)), `"status":0,"repeats":41}`)
}

// counter is a Sink that counts repeats.
type counter struct{ n int }

func (*counter) Record(*Record)                               {}
func (c *counter) Repeated(_ *Record, n int, _ time.Duration) { c.n += n }

func TestTheBookTellsOfRepeatsOnlyThoseWhoCount(t *testing.T) {
	c, kept := new(counter), NewRing(2)
	b := &Book{Sinks: []Sink{kept, c}}
	r := question()
	b.Record(r)
	b.Repeated(r, 3, 0)
	summary := *r
	summary.Repeats = 3
	b.Record(&summary)
	require.Equal(t, 3, c.n)
	require.Equal(t, []*Record{r}, kept.Recent(9), "the passage is kept once")
}

func TestSquidWritesWhatTheClientGot(t *testing.T) {
	page := request()
	page.Verdict, page.Status, page.Heads, page.Received, page.Page = policy.Verdict{Reason: policy.TypeNotListed}, 403, 470, 0, "text/html"
	page.HadQuery = true
	require.Contains(t, string(Squid(nil, page)), " TCP_DENIED/403 470 GET http://www.example.org/update.inf? - HIER_DIRECT/192.0.2.7 text/html\n")

	nobody := refusal()
	nobody.Verdict, nobody.Status = policy.Verdict{Effect: policy.Allow, Reason: policy.UpstreamUnreachable}, 502
	require.Contains(t, string(Squid(nil, nobody)), " NONE_NONE/502 3441 CONNECT evil.example:443 - HIER_NONE/- -\n")
	nobody.Status = 200 // it came about, and what was to be read in it did not
	require.Contains(t, string(Squid(nil, nobody)), " TCP_TUNNEL/200 ")

	parent := request()
	parent.Parent, parent.IP = "county", netip.Addr{}
	require.Contains(t, string(Squid(nil, parent)), " FIRSTUP_PARENT/county text/plain\n", "which resolves by itself")

	large := request()
	large.Verdict, large.Host, large.Method, large.Path, large.Status = policy.Verdict{Reason: policy.BadRequest}, "", "", "", 431
	require.Contains(t, string(Squid(nil, large)), " NONE_NONE/431 1234 - error:request-too-large ")
}

func TestPreparedLinesAreThoseThatAreWrittenFromTheBeginning(t *testing.T) {
	texts := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,40}`), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }))
	ruleOf := rapid.SampledFrom([]*policy.Rule{nil, {}, {Name: "a \"rule\"", Line: 7}, {Name: "a \"rule\"", Line: 8, Pack: "emerge"}})
	records := rapid.Custom(func(t *rapid.T) *Record {
		r := request()
		r.Time = time.Unix(rapid.Int64Range(1772600000, 1772600003).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond"))
		if rapid.IntRange(0, 9).Draw(t, "strange clock") == 0 {
			r.Time = time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "any second"), 0)
		}
		r.Verdict = policy.Verdict{Effect: rapid.SampledFrom([]policy.Effect{policy.Deny, policy.Allow}).Draw(t, "effect"),
			Reason: rapid.SampledFrom(policy.Reasons()).Draw(t, "reason"), Would: rapid.Bool().Draw(t, "would"), Rule: ruleOf.Draw(t, "rule")}
		r.PolicySHA = rapid.SampledFrom([]string{"", "abcd", "ef01"}).Draw(t, "sha")
		r.Host, r.Path = texts.Draw(t, "host"), texts.Draw(t, "path")
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		prepared := NewJSON()
		for _, r := range rapid.SliceOfN(records, 1, 6).Draw(t, "records") {
			require.Equal(t, string(JSON(nil, r)), string(prepared(nil, r)))
		}
	})
}

func TestWhatIsPreparedIsBounded(t *testing.T) {
	p := new(prepared)
	for line := range 3 * mostVerdicts {
		r := request()
		r.Verdict.Rule = &policy.Rule{Name: "rule", Line: line}
		require.Equal(t, string(JSON(nil, r)), string(p.appendLine(nil, r)))
		require.LessOrEqual(t, len(p.verdicts), mostVerdicts)
	}
	other := request()
	other.PolicySHA = "of other rules"
	p.appendLine(nil, other)
	require.Len(t, p.verdicts, 1, "rules that are in force no longer are let go")
}

func TestEightOctetsAreAskedAtOnceAsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		octet := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 0x1f, ' ', '!', '"', '#', '[', '\\', ']', '~', 0x7f, 0x80, 0x9f, 0xa0, 0xff}))
		s := string(rapid.SliceOfN(octet, 8, 8).Draw(t, "octets"))
		all := true
		for i := range len(s) {
			all = all && plain[s[i]]
		}
		require.Equal(t, all, allPlain(s), "%q", s)
	})
}
