package syslog

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAServerIsReadAsItIsMeant(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"unix:///dev/log":               "unix:///dev/log",
		"udp://10.20.0.9":               "udp://10.20.0.9:514",
		"UDP://10.20.0.9:5514":          "udp://10.20.0.9:5514",
		"tcp://siem.school.example:601": "tcp://siem.school.example:601",
		"tls://SIEM.school.example.":    "tls://siem.school.example:6514",
		"tls://[2001:db8::9]":           "tls://[2001:db8::9]:6514",
		"tcp://[2001:db8::9]:601":       "tcp://[2001:db8::9]:601",
	} {
		var s Server
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, s.String())
		require.Equal(t, text == "", s.IsZero())
	}
}

func TestWhatIsNoServerIsRefusedWithItsReason(t *testing.T) {
	for text, says := range map[string]string{
		"10.20.0.9":               "is no syslog server: write it like",
		"http://10.20.0.9":        "is no syslog server: write it like",
		"unix://dev/log":          "write its whole path",
		"tcp://10.20.0.9":         "write its port",
		"tcp://10.20.0.9:0":       "write its port",
		"tls://10.20.0.9:x":       "write its port",
		"udp://":                  "names no syslog server",
		"udp://a b":               "names no syslog server",
		"tls://user@siem.example": "names no syslog server",
	} {
		var s Server
		require.ErrorContains(t, s.UnmarshalText([]byte(text)), says, text)
		require.True(t, s.IsZero(), text)
	}
}

func FuzzServer(f *testing.F) {
	for _, seed := range []string{"unix:///dev/log", "udp://10.20.0.9", "tcp://siem.example:601", "tls://[::1]:6514", "://", "udp://[::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Server
		if s.UnmarshalText([]byte(text)) != nil {
			require.True(t, s.IsZero())
			return
		}
		require.NoError(t, again.UnmarshalText([]byte(s.String())))
		require.Equal(t, s, again)
	})
}

func TestTheFacilitiesAreThoseOfTheTable(t *testing.T) {
	all := Facilities()
	require.Len(t, all, 24)
	require.Equal(t, "local0", all[16])
	require.Equal(t, "authpriv", all[10])
}
