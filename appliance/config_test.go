package appliance

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/rules"
)

func TestAFileOfDefaultsSaysWhatNoFileSays(t *testing.T) {
	text, err := os.ReadFile("testdata/defaults.toml")
	require.NoError(t, err)
	c, problems := ParseConfig("/etc/gatehouse/gatehouse.toml", text)
	require.Empty(t, problems)
	want := DefaultConfig()
	for _, list := range []any{&c.Listen, &c.Clients, &c.DNS, &c.Addresses, &c.Firewall, &c.Alarm,
		&want.Listen, &want.Clients, &want.DNS, &want.Addresses, &want.Firewall, &want.Alarm} {
		dropEmptyLists(reflect.ValueOf(list).Elem())
	}
	require.Equal(t, &want, c)
}

// dropEmptyLists makes empty lists nil: the two say the same.
func dropEmptyLists(v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && f.Len() == 0 {
			f.SetZero()
		}
	}
}

func TestTheFileOfDefaultsNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("testdata/defaults.toml")
	require.NoError(t, err)
	var c Config
	at, _ := rules.Decode("defaults.toml", text, &c)
	tables := map[string]bool{"upstream": true, "dns.host": true, "dns.forward": true} // none by default
	eachKey(reflect.TypeFor[Config](), "", func(path string) {
		if !tables[path] {
			require.True(t, at.Has(path), "%s is not in testdata/defaults.toml", path)
		}
	})
}

// eachKey calls f with the path of every key of a table.
func eachKey(table reflect.Type, prefix string, f func(path string)) {
	eachField(table, prefix, func(path string, _ reflect.Type) { f(path) })
}

// eachField calls f with the path of every key of a table, and with its type.
func eachField(table reflect.Type, prefix string, f func(path string, of reflect.Type)) {
	for i := range table.NumField() {
		field := table.Field(i)
		path := prefix + field.Tag.Get("toml")
		if field.Type.Kind() == reflect.Struct && strings.HasSuffix(field.Type.Name(), "Config") {
			eachField(field.Type, path+".", f)
			continue
		}
		f(path, field.Type)
	}
}

func TestEveryMistakeInAConfigurationIsToldAtItsPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.toml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".toml"), "_", " "), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			_, problems := ParseConfig("gatehouse.toml", text)
			require.True(t, rules.HasErrors(problems), "it must not start")
			var got strings.Builder
			require.NoError(t, rules.Render(&got, problems))
			golden(t, strings.TrimPrefix(file, "testdata/")+".golden", got.String())
		})
	}
}

func TestASettingIsReadAsItIsMeant(t *testing.T) {
	c, problems := ParseConfig("/srv/gate/gatehouse.toml", []byte(`
timezone = "Europe/London"
[listen]
proxy = [":3128", "[::1]:3129"]
dns = "127.0.0.1:53"
[clients]
allow = ["10.20.0.5", "10.30.0.0/16"]
[dns]
upstreams = ["9.9.9.9", "tcp://[2620:fe::fe]:5353"]
[[dns.host]]
name = "WWW.example.org."
addresses = "192.0.2.7"
[azure]
tags = "tags"
[log]
level = "debug"
decisions = "log/decisions.log"
format = "squid"
[limits]
dial = "5s"
[state]
dir = "state"
`))
	require.Empty(t, problems)
	require.Equal(t, "Europe/London", c.Timezone.Zone().String())
	require.Equal(t, "[::]:3128", c.Listen.Proxy[0].String())
	require.Equal(t, "[::1]:3129", c.Listen.Proxy[1].String())
	require.Len(t, c.Listen.DNS, 1)
	require.Equal(t, netip.MustParsePrefix("10.20.0.5/32"), c.Clients.Allow[0].Prefix)
	require.Equal(t, netip.MustParseAddrPort("9.9.9.9:53"), c.DNS.Upstreams[0].Addr())
	require.Equal(t, netip.MustParseAddrPort("[2620:fe::fe]:5353"), c.DNS.Upstreams[1].Addr())
	require.Equal(t, "www.example.org", c.DNS.Hosts[0].Name.String())
	require.Equal(t, "/srv/gate/tags", c.Azure.Tags)
	require.Equal(t, "/srv/gate/log/decisions.log", c.Log.Decisions)
	require.Equal(t, "/srv/gate/state", c.State.Dir)
	require.Equal(t, 5*time.Second, c.Limits.Dial.Duration)
	require.Equal(t, 4096, c.Limits.PerClient, "what the file does not name keeps its default")
}

func FuzzParseConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.toml")
	require.NoError(f, err)
	for _, file := range append(files, "testdata/defaults.toml") {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := ParseConfig("gatehouse.toml", text)
		if rules.HasErrors(problems) {
			return
		}
		require.True(t, c.Listen.Admin.Loopback() || c.Listen.WebConfig != "", "the admin listener is never open to strangers")
	})
}
