package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// badEnv is what a bad file is loaded with. Its first line may ask for more:
// "# inspection" (with ": DOMAIN" under a CA for it), "# unchanged" (the same),
// "# parents: NAME" or "# doors".
func badEnv(t *testing.T, text []byte) Env {
	env := testEnv(t)
	first, _, _ := strings.Cut(string(text), "\n")
	switch word, rest, _ := strings.Cut(strings.TrimPrefix(first, "# "), ": "); word {
	case "inspection":
		env.Inspection, env.Vouches = true, vouchesFor(rest)
	case "unchanged":
		sum := sha256.Sum256(text)
		env.LastSHA256 = hex.EncodeToString(sum[:])
		env.Inspection, env.Vouches = rest != "", vouchesFor(rest)
	case "parents":
		env.Parents = []string{rest}
	case "doors":
		env.Doors = []Door{{"listen.proxy", netip.MustParseAddrPort("10.20.0.1:3128")}}
	}
	return env
}

// vouchesFor stands for a CA that is made for one domain; without one there is
// no CA.
func vouchesFor(domain string) func(string) bool {
	if domain == "" {
		return nil
	}
	return func(host string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }
}

func TestBadFilesAreToldAsTheirGoldenFilesSay(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	require.NoError(t, err)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			loaded, problems := Load("rules.toml", text, badEnv(t, text))
			require.Equal(t, HasErrors(problems), loaded == nil, "a file is loaded exactly where it has no error")
			var got strings.Builder
			require.NoError(t, Render(&got, problems))
			code, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".toml"), "-")
			require.Contains(t, got.String(), " "+code+": ")
			golden := strings.TrimSuffix(path, ".toml") + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func TestEveryCodeHasAFileThatRaisesIt(t *testing.T) {
	for _, c := range Codes() {
		if c.ID == codeUnmade.ID {
			continue // the last line of defence: what raises it would be raised before
		}
		require.FileExists(t, filepath.Join("testdata/bad", c.ID+".toml"), c.Title)
		golden, err := os.ReadFile(filepath.Join("testdata/bad", c.ID+".golden"))
		require.NoError(t, err)
		require.Contains(t, string(golden), ": "+string(c.Level)+" "+c.ID+": ")
	}
}
