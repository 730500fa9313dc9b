package flow

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func syslogOf(most int) Format {
	return Syslog(SyslogHeader{Facility: 16, Hostname: "gate.school.example", Version: "1.2", PID: 77, Most: most})
}

// readBack reads a message with a parser that others wrote, at its strictest.
func readBack(t require.TestingT, line []byte) *rfc5424.SyslogMessage {
	require.Equal(t, byte('\n'), line[len(line)-1])
	m, err := rfc5424.NewParser(rfc5424.WithCompliantMsg()).Parse(line[:len(line)-1])
	require.NoError(t, err, "%q", line)
	require.True(t, m.Valid())
	return m.(*rfc5424.SyslogMessage)
}

func TestASyslogMessageIsTheOneOfRFC5424(t *testing.T) {
	r := request()
	require.Equal(t, `<134>1 2026-03-04T04:06:07.101Z gate.school.example gatehouse 77 allowed `+
		`[meta sequenceId="1"][origin software="gatehouse" swVersion="1.2"] `+string(JSON(nil, r)),
		string(syslogOf(8192)(nil, r)), "the moment is that of the end, as it is in Squid's log")
}

func TestWhatASyslogMessageSaysOfADecision(t *testing.T) {
	would := request()
	would.Verdict = policy.Verdict{Effect: policy.Allow, Would: true, Reason: policy.PortNotListed}
	format := syslogOf(8192)
	for i, c := range []struct {
		record   *Record
		severity uint8
		kind     string
	}{
		{request(), 6, "allowed"},
		{refusal(), 4, "denied"},
		{would, 5, "would_deny"},
		{question(), 4, "denied"},
	} {
		line := format(nil, c.record)
		m := readBack(t, line)
		require.Equal(t, uint8(16), *m.Facility)
		require.Equal(t, c.severity, *m.Severity)
		require.Equal(t, c.kind, *m.MsgID)
		require.Equal(t, "gatehouse", *m.Appname)
		require.Equal(t, "77", *m.ProcID)
		require.Equal(t, map[string]map[string]string{
			"meta":   {"sequenceId": string(rune('1' + i))},
			"origin": {"software": "gatehouse", "swVersion": "1.2"},
		}, *m.StructuredData)
		back, err := ParseLine([]byte(*m.Message))
		require.NoError(t, err)
		require.Equal(t, string(JSON(nil, c.record)), string(JSON(nil, back)))
	}
}

func TestASyslogMessageHoldsNothingThatCouldEndItsFrame(t *testing.T) {
	r := request()
	r.Host, r.Path, r.Detail = "evil\n<134>1 - - - - - - forged\x00", "/ä\u2028\U0001f600\xff] \"", "“quoted”\ufeff"
	line := syslogOf(8192)(nil, r)
	for _, c := range line[:len(line)-1] {
		require.True(t, c >= ' ' && c <= '~', "%q", line)
	}
	back, err := ParseLine([]byte(*readBack(t, line).Message))
	require.NoError(t, err)
	require.Equal(t, r.Host, back.Host)
	require.Equal(t, "/ä\u2028\U0001f600\ufffd] \"", back.Path)
	require.Equal(t, r.Detail, back.Detail)
}

func TestALongSyslogMessageIsCutInItsFieldsAndStaysWhole(t *testing.T) {
	r := request()
	r.Path, r.Detail, r.User = "/"+strings.Repeat("a", 9000), strings.Repeat("\U0001f600", 500), strings.Repeat("\x01", 600)
	for range 200 {
		r.CNAME = append(r.CNAME, strings.Repeat("b", 250))
	}
	for _, most := range []int{8192, 2048, 0} {
		line := syslogOf(most)(nil, r)
		require.LessOrEqual(t, len(line)-1, max(most, 2048))
		var body struct {
			Host, ID string
			Cut      bool
		}
		require.NoError(t, json.Unmarshal([]byte(*readBack(t, line).Message), &body))
		require.True(t, body.Cut)
		require.Equal(t, r.ID, body.ID)
		require.Equal(t, r.Host, body.Host, "what is short stays as it is")
	}
	require.NotContains(t, string(syslogOf(2048)(nil, request())), `"cut"`)
}

func TestASyslogHeaderIsWellFormedWhateverTheMachineIsCalled(t *testing.T) {
	for name, want := range map[string]string{
		"":                        "-",
		"näme with spaces\n":      "nmewithspaces",
		strings.Repeat("x", 9000): strings.Repeat("x", 255),
	} {
		line := Syslog(SyslogHeader{Hostname: name, Version: "v\"1]\\ü\n", Facility: 23})(nil, refusal())
		m := readBack(t, line)
		if want == "-" {
			require.Nil(t, m.Hostname)
		} else {
			require.Equal(t, want, *m.Hostname)
		}
		require.Equal(t, `v"1]\???`, (*m.StructuredData)["origin"]["swVersion"])
		require.Equal(t, "0", *m.ProcID)
	}
	line := Syslog(SyslogHeader{})(nil, &Record{Time: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)})
	require.Nil(t, readBack(t, line).Timestamp, "a year that the format has no place for")
}

func FuzzSyslog(f *testing.F) {
	f.Add("www.example.org", "/path", "user", "detail", 2048)
	f.Add("\x00\x7f\x80\xff\u2028", "\U0010ffff\"\\]", "\n<1>1 ", "\ufeff", 480)
	f.Add(strings.Repeat("\x01", 600), strings.Repeat("\U0001f600", 200), strings.Repeat("\"", 600), strings.Repeat("ä", 900), 4000)
	f.Fuzz(func(t *testing.T, host, path, user, detail string, most int) {
		r := request()
		r.Host, r.Path, r.User, r.Detail, r.CNAME, r.Type = host, path, user, detail, []string{path, host, user}, detail
		r.Client, r.IP = netip.Addr{}, netip.Addr{}
		r.Verdict.Rule = &policy.Rule{Name: user, Pack: host}
		most = min(most, 1<<20)
		line := Syslog(SyslogHeader{Hostname: host, Version: user, Facility: 1, PID: most, Most: most})(nil, r)
		require.LessOrEqual(t, len(line)-1, max(most, 2048))
		require.Equal(t, 1, strings.Count(string(line), "\n"))
		require.True(t, json.Valid([]byte(*readBack(t, line).Message)))
	})
}

func BenchmarkSyslog(b *testing.B) {
	r, buf, format := request(), make([]byte, 0, 2048), syslogOf(8192)
	b.ReportAllocs()
	for b.Loop() {
		buf = format(buf[:0], r)
	}
}
