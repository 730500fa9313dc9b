package appliance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/rules"
)

// BenchmarkReplayOf150000Rules weighs a draft of that many rules, under which each
// of the 10,000 decisions in memory would be decided otherwise or be refused.
func BenchmarkReplayOf150000Rules(b *testing.B) {
	var text strings.Builder
	text.WriteString("version = 1\n")
	for i := range 150_000 {
		fmt.Fprintf(&text, "[[allow]]\nname = \"r%d\"\nhosts = \"www.site%d.example\"\n", i, i)
	}
	loaded, problems := rules.Load("rules.toml", []byte(text.String()), rules.Env{Now: time.Now()})
	require.NotNil(b, loaded, "%v", problems)
	before := cpu(b)
	for b.Loop() {
		y := NewReplay(loaded.Policy, time.Now())
		for i := range keptDecisions {
			r := kept(i)
			r.Client, r.Host = netip.AddrFrom4([4]byte{127, 0, 0, 1}), fmt.Sprintf("host%d.example.org", i)
			y.Add(r)
		}
		y.Done()
		require.NotEmpty(b, y.Changes)
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
