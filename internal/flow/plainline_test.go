package flow

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainRecords are such as the log holds, with each field that a line may lack.
func plainRecords() []*Record {
	full := request()
	full.Publish, full.Parent, full.Fault, full.Detail, full.Repeats = "door", "up.example", "pinned", "It is so.", 3
	full.Group, full.User, full.Upload, full.Path = "g", "u", "text/xml", "/a]b,\"c}"
	full.IP = netip.MustParseAddr("fe80::1%eth0")
	lone := question()
	lone.CNAME = []string{"one.example.net"}
	return []*Record{request(), refusal(), question(), full, lone, {}}
}

func TestAPlainLineIsReadAsJSONReadsIt(t *testing.T) {
	for _, r := range plainRecords() {
		line := JSON(nil, r)
		var p plainLine
		plain := !strings.Contains(string(line), `\`)
		require.Equal(t, plain, p.split(line), "%s", line)
		if plain {
			requireSame(t, &p, line)
		}
	}
}

func requireSame(t *testing.T, p *plainLine, line []byte) {
	t.Helper()
	var quick, slow jsonLine
	if !p.read(&quick) {
		return // it is read as JSON then
	}
	require.NoError(t, json.Unmarshal(line, &slow), "%s", line)
	if len(slow.CNAME) == 0 {
		slow.CNAME = nil // as ParseLine has it
	}
	require.Equal(t, slow, quick, "%s", line)
}

func TestALineThatIsNotQuiteOursIsNoPlainOne(t *testing.T) {
	whole := string(JSON(nil, request()))
	for name, line := range map[string]string{
		"a space":           strings.Replace(whole, `"host":"`, `"host": "`, 1),
		"another order":     strings.Replace(whole, `"group":"emerge","user":""`, `"user":"","group":"emerge"`, 1),
		"a key more":        strings.Replace(whole, `,"end"`, `,"new":1,"end"`, 1),
		"a key twice":       strings.Replace(whole, `}`, `,"host":"other"}`, 1),
		"an escape":         strings.Replace(whole, `www.`, `\u0077ww.`, 1),
		"no ASCII":          strings.Replace(whole, `www.`, "wwẃ.", 1),
		"a number quoted":   strings.Replace(whole, `"port":80`, `"port":"80"`, 1),
		"a text unquoted":   strings.Replace(whole, `"group":"emerge"`, `"group":7`, 1),
		"a leading zero":    strings.Replace(whole, `"port":80`, `"port":080`, 1),
		"below zero":        strings.Replace(whole, `"sent":0`, `"sent":-1`, 1),
		"an exponent":       strings.Replace(whole, `"sent":0`, `"sent":1e3`, 1),
		"a point alone":     strings.Replace(whole, `"dur_ms":12`, `"dur_ms":12.`, 1),
		"an open list":      strings.Replace(whole, `b.example.net"]`, `b.example.net",]`, 1),
		"a list of numbers": strings.Replace(whole, `["a.example.net"`, `[1`, 1),
		"torn":              whole[:len(whole)-20],
		"something after":   strings.Replace(whole, "}\n", "} \n", 1),
		"nothing":           "",
	} {
		require.False(t, new(plainLine).split([]byte(line)), name)
	}
	for name, line := range map[string]string{
		"a port too high": strings.Replace(whole, `"port":80`, `"port":65536`, 1),
		"no address":      strings.Replace(whole, `"10.20.0.5"`, `"10.20.0."`, 1),
		"no time":         strings.Replace(whole, `{"ts":"2026`, `{"ts":"026`, 1),
		"no whole number": strings.Replace(whole, `"sent":0`, `"sent":0.5`, 1),
	} {
		var p plainLine
		require.True(t, p.split([]byte(line)), name)
		require.False(t, p.read(new(jsonLine)), name)
	}
}

func FuzzPlainLine(f *testing.F) {
	for _, r := range plainRecords() {
		f.Add(JSON(nil, r))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if p := (plainLine{}); p.split(line) {
			requireSame(t, &p, line)
		}
	})
}

func BenchmarkParseLine(b *testing.B) {
	line := JSON(nil, request())
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
