package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestWithoutACacheEachQuestionIsAskedUpstream(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	require.NoError(t, s.stop())
	path := filepath.Join(s.dir, "gatehouse.toml")
	had, err := os.ReadFile(path)
	require.NoError(t, err)
	write(t, path, strings.Replace(string(had), "[dns]\n", "[dns]\ncache_mib = 0\n", 1))
	s.start()
	for before := range 3 {
		require.Equal(t, before, s.dns.Asked("www.groupcall.test", "A"))
		r := s.query("www.groupcall.test.")
		require.Len(t, r.Answer, 1)
		require.Equal(t, "127.0.0.1", r.Answer[0].(*dns.A).A.String())
	}
}
