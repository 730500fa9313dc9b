package dnsallow

import (
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestAQuestionIsWrittenAsTheLibraryReadsIt(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 61)+".", 4) + "bcdef"
	for _, q := range []question{
		{"emergeen.servicebus.windows.net", dns.TypeA}, {"x", dns.TypeAAAA}, {"_ldap._tcp.school.local", dns.TypeSRV}, {long, dns.TypeA},
	} {
		for _, edns := range []bool{true, false} {
			m := new(dns.Msg)
			require.NoError(t, m.Unpack(appendQuery(nil, q, edns)))
			want := compose(q, edns)
			require.Equal(t, q.name+".", strings.ToLower(m.Question[0].Name))
			want.Id, want.Question[0].Name = m.Id, m.Question[0].Name
			require.Equal(t, want.String(), m.String())
		}
	}
}

func TestEachQuestionIsWrittenAnew(t *testing.T) {
	q := question{"emergeen.servicebus.windows.net", dns.TypeA}
	ids, spelled := map[string]bool{}, map[string]bool{}
	for range 64 {
		wire := appendQuery(nil, q, true)
		ids[string(wire[:2])] = true
		spelled[string(wire[headerBytes:questionEnd(wire)])] = true
	}
	require.Greater(t, len(ids), 32, "ids")
	require.Greater(t, len(spelled), 32, "mixtures of capital and small letters")
}

// What an uncached name may cost, besides what the library allocates to read
// and write packets: the guard of the miss path.
func TestAskingCostsFewAllocations(t *testing.T) {
	const most = 80
	got := testing.Benchmark(BenchmarkAsk)
	require.Positive(t, got.N)
	require.LessOrEqual(t, got.AllocsPerOp(), int64(most))
}

// By post there is no goroutine and no message of the library: what is allocated is
// what stays, in the cache, in the book and for the next time.
func TestAskingByPostCostsFewerAllocations(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a goroutine waits")
	}
	const most = 20 // 9; the race detector's pools forget some of what they are given
	got := testing.Benchmark(BenchmarkPost)
	require.Positive(t, got.N)
	require.LessOrEqual(t, got.AllocsPerOp(), int64(most))
}
