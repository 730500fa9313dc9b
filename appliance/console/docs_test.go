package console

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryPathOfTheJSONInterfaceIsDocumentedAndExists(t *testing.T) {
	text, err := os.ReadFile("../../docs/console.md")
	require.NoError(t, err)
	mux := http.NewServeMux()
	(&Console{}).Register(mux)
	documented := map[string]bool{}
	for _, line := range strings.Split(string(text), "\n") {
		_, rest, ok := strings.Cut(line, "| `")
		request, _, _ := strings.Cut(rest, "`")
		method, target, ok2 := strings.Cut(request, " /api/")
		if !ok || !ok2 {
			continue
		}
		path, _, _ := strings.Cut("/api/"+target, "?")
		documented[method+" "+path] = true
		req, err := http.NewRequest(method, strings.Replace(path, "{id}", "GH-00000000", 1), nil)
		require.NoError(t, err)
		_, pattern := mux.Handler(req)
		require.Equal(t, method+" "+path, pattern)
	}
	for pattern := range (&Console{}).api() {
		require.True(t, documented[pattern], "docs/console.md says nothing of %s", pattern)
	}
}
