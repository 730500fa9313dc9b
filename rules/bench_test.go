package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bulk is a file with many rules and many hosts in each.
func bulk(rules, hostsEach int) []byte {
	var b strings.Builder
	b.WriteString("version = 1\n[[client]]\nname = \"lab\"\nfrom = [\"10.20.0.0/16\"]\n")
	for r := range rules {
		fmt.Fprintf(&b, "[[allow]]\nname = \"rule-%d\"\nclients = [\"lab\"]\nports = [443, 8443]\nprotocol = \"tls\"\nmethods = [\"GET\"]\nhosts = [\n", r)
		for h := range hostsEach {
			fmt.Fprintf(&b, "  \"host-%d.site-%d.example.org\",\n", h, r)
		}
		b.WriteString("]\n")
	}
	return []byte(b.String())
}

func BenchmarkLoad(b *testing.B) {
	for _, size := range []struct{ rules, hosts int }{{10, 10}, {100, 100}, {1000, 100}} {
		text := bulk(size.rules, size.hosts)
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
	text := []byte(strings.NewReplacer(".site-", ".site").Replace(string(bulk(300, 100))))
	env := testEnv(b)
	for b.Loop() {
		loaded, problems := Load("rules.toml", text, env)
		require.NotNil(b, loaded, "%v", problems)
	}
}
