package rules

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

type settings struct {
	Timezone string `toml:"timezone"`
	Listen   struct {
		Proxy []string `toml:"proxy"`
		Admin string   `toml:"admin"`
	} `toml:"listen"`
	Limits struct {
		Connections int    `toml:"connections"`
		Header      uint16 `toml:"header_bytes"`
		Idle        even   `toml:"idle"`
	} `toml:"limits"`
	Manage    bool `toml:"manage"`
	Upstreams []struct {
		Name string `toml:"name"`
		URL  string `toml:"url"`
	} `toml:"upstream"`
}

// even is a text of its own.
type even struct{ text string }

func (e *even) UnmarshalText(b []byte) error {
	if len(b)%2 == 1 {
		return errors.New("has an odd number of letters")
	}
	e.text = string(b)
	return nil
}

func TestDecodeFillsAStruct(t *testing.T) {
	var s settings
	s.Timezone = "kept"
	at, problems := Decode("gatehouse.toml", []byte("\xef\xbb\xbfmanage = true\r\n[listen]\r\nproxy = \"127.0.0.1:3128\"\r\n[limits]\r\nconnections = 5\r\nidle = \"1h\"\r\n[[upstream]]\r\nname = \"a\"\r\n[[upstream]]\r\nname = \"b\"\r\nurl = \"http://b/\"\r\n"), &s)
	require.Empty(t, problems)
	require.Equal(t, "kept", s.Timezone)
	require.Equal(t, []string{"127.0.0.1:3128"}, s.Listen.Proxy, "a bare value is a list of one")
	require.Equal(t, 5, s.Limits.Connections)
	require.Equal(t, "1h", s.Limits.Idle.text)
	require.True(t, s.Manage)
	require.Equal(t, "b", s.Upstreams[1].Name)

	p := at.Problem("upstream[1].url", Error, "GH201", "no port", "", "")
	require.Equal(t, [3]int{11, 7, 11}, [3]int{p.Line, p.Column, p.Width})
	require.Equal(t, `url = "http://b/"`, p.Source)
	require.Equal(t, 3, at.Problem("listen.proxy[0]", Error, "", "", "", "").Line)
	require.Equal(t, 9, at.Problem("upstream[1].password", Error, "", "", "", "").Line, "the nearest table above")
	require.True(t, at.Has("limits.idle"))
	require.False(t, at.Has("limits.dial"))
	require.Zero(t, at.Problem("dns.cache", Error, "GH201", "", "", "").Line)
}

func TestDecodeTellsEveryProblemAtItsPlace(t *testing.T) {
	var s settings
	_, problems := Decode("gatehouse.toml", []byte(`timezon = "UTC"
[listen]
proxy = [1, "x"]
manage = true
[limits]
connections = "5"
header_bytes = 70000
idle = "1h0"
[limit]
x = 1
`), &s)
	var told []string
	for _, p := range problems {
		told = append(told, p.String())
	}
	require.Equal(t, []string{
		"gatehouse.toml:1:1: error GH004: unknown key \"timezon\"; did you mean \"timezone\"?\n    1 | timezon = \"UTC\"\n      | ^^^^^^^\n   fix: timezone = \"UTC\"\n   why: a key that nothing reads would look like a rule and be none\n",
		"gatehouse.toml:3:10: error GH007: this is a number; what belongs here is text in quotes\n    3 | proxy = [1, \"x\"]\n      |          ^\n   fix: proxy = [\"1\", \"x\"]\n   why: the value would have to be guessed\n",
		"gatehouse.toml:4:1: error GH006: \"manage\" belongs to the whole file, but stands below a table and so is read as part of it; move it to the top\n    4 | manage = true\n      | ^^^^^^\n   fix: move it to the top, above the first [ line:\n        manage = true\n   why: in TOML every key belongs to the table above it, until the next [ line\n",
		"gatehouse.toml:6:15: error GH007: this is text; what belongs here is a whole number\n    6 | connections = \"5\"\n      |               ^^^\n   fix: connections = 5\n   why: the value would have to be guessed\n",
		"gatehouse.toml:7:16: error GH007: this is a number; what belongs here is a whole number from 0 to 65535\n    7 | header_bytes = 70000\n      |                ^^^^^\n   why: the value would have to be guessed\n",
		"gatehouse.toml:8:8: error GH010: has an odd number of letters\n    8 | idle = \"1h0\"\n      |        ^^^^^\n   why: the key takes only the values named\n",
		"gatehouse.toml:9:1: error GH005: unknown table \"limit\"; did you mean \"limits\"?\n    9 | [limit]\n      | ^^^^^^^\n   fix: [limits]\n   why: a table that nothing reads would look like a rule and be none\n",
	}, told)
}

func TestColumnsCountCharactersAndTabsKeepTheCaretInPlace(t *testing.T) {
	_, problems := Load("rules.toml", []byte("version = 1\n[[allow]]\nname = \"x\"\n\thosts = [\"straße.example\", \"a b\"]\n"), testEnv(t))
	require.Len(t, problems, 1)
	require.Equal(t, 29, problems[0].Column)
	require.Contains(t, problems[0].String(), "\n      | \t                           ^^^^^\n")
}

func TestClosest(t *testing.T) {
	for word, want := range map[string]string{"host": "hosts", "hsots": "hosts", "colour": "", "ports": "ports", "metods": "methods"} {
		got, _ := closest(word, []string{"hosts", "methods", "ports"})
		require.Equal(t, want, got, word)
	}
}
