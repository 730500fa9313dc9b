package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bulk is a file with many rules and many hosts in each; the hosts are those of
// the rule alone where site tells them apart.
func bulk(rules, hostsEach int, site func(rule int) string) []byte {
	var b strings.Builder
	b.WriteString("version = 1\n[[client]]\nname = \"lab\"\nfrom = [\"10.20.0.0/16\"]\n")
	for r := range rules {
		fmt.Fprintf(&b, "[[allow]]\nname = \"rule-%d\"\nclients = [\"lab\"]\nports = [443, 8443]\nprotocol = \"tls\"\nmethods = [\"GET\"]\nhosts = [\n", r)
		for h := range hostsEach {
			fmt.Fprintf(&b, "  \"host-%d.%s.example.org\",\n", h, site(r))
		}
		b.WriteString("]\n")
	}
	return []byte(b.String())
}

func BenchmarkLoad(b *testing.B) {
	for _, size := range []struct{ rules, hosts int }{{10, 10}, {100, 100}, {1000, 100}} {
		text := bulk(size.rules, size.hosts, func(r int) string { return fmt.Sprintf("site-%d", r) })
		b.Run(fmt.Sprintf("rules=%d/hosts=%d", size.rules, size.rules*size.hosts), func(b *testing.B) {
			env := testEnv(b)
			b.ReportAllocs()
			for b.Loop() {
				loaded, problems := Load("rules.toml", text, env)
				require.NotNil(b, loaded, "%v", problems)
			}
		})
	}
}

// The same hosts in every rule is the worst case of the checks that compare
// rules: it must not be quadratic in hosts.
func BenchmarkLoadSameHosts(b *testing.B) {
	text := bulk(300, 100, func(int) string { return "site" })
	env := testEnv(b)
	for b.Loop() {
		loaded, problems := Load("rules.toml", text, env)
		require.NotNil(b, loaded, "%v", problems)
	}
}
