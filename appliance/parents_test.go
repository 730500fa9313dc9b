package appliance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestTheParentMayBeAGatehouseToo(t *testing.T) {
	t.Parallel()
	school := newSite(t, rulesText)
	county := newSite(t, school.fill(rulesText))
	school.configure(fmt.Sprintf("\n[[upstream]]\nname = \"county\"\nurl = \"http://%s\"\n", county.address("proxy")))
	status, body := school.get("/update.inf")
	require.Equal(t, 200, status, body)
	require.Contains(t, body, "[version]")
	for _, s := range []*site{school, county} {
		require.Eventually(t, func() bool { return strings.Contains(s.log.String(), `"path":"/update.inf"`) }, nettest.Patience, 5*time.Millisecond)
		require.Contains(t, s.log.String(), `"reason":"matched"`)
	}
}
