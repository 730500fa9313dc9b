package doctor

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

var update = flag.Bool("update", false, "write testdata/check.ps1 anew")

func scriptFor(t *testing.T, pack string, list ...policy.Rule) string {
	t.Helper()
	p, err := policy.Compile(policy.Spec{Rules: list})
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, Script(&b, p, ScriptOptions{
		Version: "1.2.3", Proxy: netip.MustParseAddrPort("10.20.0.1:3128"), DNS: netip.MustParseAddrPort("10.20.0.1:53"), Pack: pack, At: noon(),
	}))
	return b.String()
}

func TestTheScriptNamesThePlacesThatTheRulesPermit(t *testing.T) {
	glob, err := policy.ParseGlob("/it's $(here)")
	require.NoError(t, err)
	own := rule(t, "own", "own.example.org", 8443, func(r *policy.Rule) { r.Name, r.Pack = "own", "" })
	list := []policy.Rule{
		rule(t, "site", "www.example.org", 80, func(r *policy.Rule) { r.Paths = []policy.Glob{glob} }),
		rule(t, "bus", "bus.example.org", 5671, nil), rule(t, "bus2", "bus.example.org", 9352, nil), rule(t, "twice", "bus.example.org", 9352, nil),
		rule(t, "many", "*.example.org", 443, nil), own,
	}
	text := scriptFor(t, "", list...)
	for _, line := range []string{
		"[string] $Gate = '10.20.0.1',", "[int] $ProxyPort = 3128,", "[int] $DnsPort = 53,",
		"@{ Host = 'www.example.org'; Port = 80; Speaks = 'http'; Path = '/it%27s%20$%28here%29' },",
		"@{ Host = 'bus.example.org'; Port = 5671; Speaks = 'tls'; Path = '/' },",
		"@{ Host = 'bus.example.org'; Port = 9352; Speaks = 'tcp'; Path = '/' },",
		"@{ Host = 'own.example.org'; Port = 8443; Speaks = 'tcp'; Path = '/' }\r\n)",
	} {
		require.Contains(t, text, line)
	}
	require.Equal(t, 1, strings.Count(text, "Port = 9352"))
	require.NotContains(t, text, "*.example.org")
	require.NotContains(t, scriptFor(t, "pack", list...), "own.example.org")
}

func TestTheScriptIsPlainTextThatChangesNothing(t *testing.T) {
	text := scriptFor(t, "", rule(t, "site", "www.example.org", 443, nil))
	require.Equal(t, strings.Count(text, "\n"), strings.Count(text, "\r\n"))
	for _, r := range text {
		require.Less(t, r, rune(0x7f), "Windows PowerShell reads a file without a BOM in the system's code page")
	}
	for _, line := range strings.Split(text, "\r\n") {
		require.LessOrEqual(t, len(line), 140, line)
	}
	// Nothing that writes to the machine, asks the network for code, or needs a module.
	require.NotRegexp(t, `(?i)(Remove-|New-Item|Set-Item|Set-Content|Add-Content|Install-|Import-|Start-|Stop-|Restart-|Out-File|Export-|Invoke-|`+
		`DownloadString|Resolve-DnsName|Test-NetConnection|reg add| set proxy)`, text)
	require.NotRegexp(t, `[^2]>\s*\$?[A-Za-z]`, text, "no redirection into a file")
}

// The script has not been run where this was built: it is kept whole, so that a
// reader of a change sees what becomes of it.
func TestTheScriptIsAsItWas(t *testing.T) {
	text := scriptFor(t, "", rule(t, "site", "www.example.org", 443, nil), rule(t, "bus", "bus.example.org", 9352, nil))
	const golden = "testdata/check.ps1"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
		return
	}
	was, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(was), text)
}

func TestAStringOfPowerShellExpandsNothing(t *testing.T) {
	require.Equal(t, "'it''s $(here) `n \"x\"'", quote("it's $(here) `n \"x\""))
	require.Equal(t, "v?1", ascii("v\n1"))
}
