package rules

import (
	"fmt"
	"runtime"
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

// tables is a file with many rules, each made by f.
func tables(n int, f func(i int) string) []byte {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i := range n {
		fmt.Fprintf(&b, "[[allow]]\nname = \"rule-%d\"\n%s\n", i, f(i))
	}
	return []byte(b.String())
}

// shapes are large files whose rules could be compared with each other one by
// one; doing so would take minutes.
var shapes = map[string]func() []byte{
	"100,000 tables, a host each": func() []byte {
		return tables(100_000, func(i int) string { return fmt.Sprintf(`hosts = ["host-%d.example.org"]`, i) })
	},
	"20,000 tables, one host": func() []byte {
		return tables(20_000, func(int) string { return "hosts = [\"www.example.org\"]\nmethods = [\"GET\"]\nprotocol = \"tls\"" })
	},
	"5,000 tables, one host, types of their own": func() []byte {
		return tables(5_000, func(i int) string {
			return fmt.Sprintf("hosts = [\"www.example.org\"]\ntypes = { \"/%d/*\" = \"text/plain\" }", i)
		})
	},
	"1,000 tables, the same 100 hosts": func() []byte { return bulk(1000, 100, func(int) string { return "site" }) },
}

// BenchmarkLongLine checks files of one line at two sizes: the work grows with
// the size and not with its square.
func BenchmarkLongLine(b *testing.B) {
	for _, item := range []string{`{name="a",`, `{name="é/",host="x"},`, "[[", "a = 1 "} {
		for _, size := range []int{256 << 10, 512 << 10} {
			text := []byte("allow=[" + strings.Repeat(item, size/len(item)))
			b.Run(fmt.Sprintf("%q/%d KiB", item, size>>10), func(b *testing.B) {
				env := testEnv(b)
				b.SetBytes(int64(size))
				for b.Loop() {
					loaded, _ := Load("rules.toml", text, env)
					require.Nil(b, loaded)
				}
			})
		}
	}
}

// What a rule costs while it is read, and what is kept of it, is bounded: a
// hundred thousand fit where the gate has room for them. The bounds are twice
// what it costs, so that they tell of another order and not of another compiler.
func TestARuleCostsLittleMemory(t *testing.T) {
	const rules = 10_000
	text, env := tables(rules, func(i int) string { return fmt.Sprintf(`hosts = ["host-%d.example.org"]`, i) }), testEnv(t)
	Default() // what is made once is not counted
	_, _ = Load("rules.toml", Default(), env)
	var before, during, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	loaded, problems := Load("rules.toml", text, env)
	runtime.ReadMemStats(&during)
	require.NotNil(t, loaded, "%v", problems)
	require.Less(t, (during.TotalAlloc-before.TotalAlloc)/rules, uint64(9_000), "bytes for each rule while it is read")
	loaded.Problems, problems = nil, nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, (int64(after.HeapAlloc)-int64(before.HeapAlloc))/rules, int64(2_000), "bytes for each rule in force")
	runtime.KeepAlive(loaded)
}

func BenchmarkLoadShapes(b *testing.B) {
	for name, shape := range shapes {
		text, env := shape(), testEnv(b)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				loaded, problems := Load("rules.toml", text, env)
				require.NotNil(b, loaded, "%v", problems)
			}
		})
	}
}

func TestRulesThatSayTheSameOfAHostAreComparedOnce(t *testing.T) {
	text := tables(2_000, func(i int) string {
		return fmt.Sprintf("hosts = [\"www.example.org\", \"host-%d.example.org\"]\nmethods = [\"GET\"]\nprotocol = \"tls\"\nports = [443, %d]", i, 8443+i%2)
	})
	c := &compiler{env: testEnv(t), file: readFile("rules.toml", text)}
	c.doc = c.file.doc
	require.NotNil(t, c.compile())
	for _, x := range []*hostIndex{c.allows, c.stating} {
		require.Len(t, x.exact["www.example.org"], 2, "one for each list of ports")
		require.Len(t, x.exact, 2_001)
	}
}

func TestAClashIsToldOfEveryRuleThatDisagreesWithAnEarlierOne(t *testing.T) {
	text := tables(4, func(i int) string {
		return fmt.Sprintf("hosts = [\"www.example.org\"]\nprotocol = %q", []string{"tls", "tls", "tcp", "tcp"}[i])
	})
	_, problems := Load("rules.toml", text, testEnv(t))
	var lines []int
	for _, p := range problems {
		require.Equal(t, "GH033", p.Code)
		lines = append(lines, p.Line)
	}
	require.Equal(t, []int{13, 17}, lines)
}
