// Package compose_test holds compose.yaml to the files it names and to the gate's
// own settings. That the image runs as it says is tested with podman.
package compose_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"

	"gatehouse/appliance"
)

// composition is what compose.yaml uses of the Compose specification; a key that
// is not here is misspelt.
type composition struct {
	Name     string
	Services map[string]struct {
		Image           string
		Build           string
		Restart         string
		ReadOnly        bool     `yaml:"read_only"`
		CapDrop         []string `yaml:"cap_drop"`
		SecurityOpt     []string `yaml:"security_opt"`
		MemLimit        string   `yaml:"mem_limit"`
		PidsLimit       int      `yaml:"pids_limit"`
		StopGracePeriod string   `yaml:"stop_grace_period"`
		Ulimits         map[string]map[string]int
		Command         []string
		Ports           []string
		Volumes         []string
	}
	Volumes map[string]struct{}
}

func TestTheCompositionIsConfinedAndNamesFilesThatExist(t *testing.T) {
	text, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var c composition
	require.NoError(t, yaml.UnmarshalStrict(text, &c))
	require.Len(t, c.Services, 2)
	for name, s := range c.Services {
		require.True(t, s.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt, name)
		for _, port := range s.Ports {
			require.Regexp(t, `^(\$\{GATE_ADDRESS[:?}]|127\.0\.0\.1:)`, port, "%s is open to everybody", name)
		}
		for _, mount := range s.Volumes {
			from, _, _ := strings.Cut(mount, ":")
			if strings.HasPrefix(from, ".") {
				_, err := os.Stat(from)
				require.NoError(t, err, name)
				require.True(t, strings.HasSuffix(mount, ":ro"), mount)
			} else {
				require.Contains(t, c.Volumes, from, name)
			}
		}
	}
	_, err = os.Stat(filepath.Join(c.Services["gatehouse"].Build, "Dockerfile"))
	require.NoError(t, err)
}

func TestTheSettingsOfTheCompositionListenWhereItsPortsLead(t *testing.T) {
	text, err := os.ReadFile("etc/gatehouse.toml")
	require.NoError(t, err)
	config, problems := appliance.ParseConfig("/etc/gatehouse/gatehouse.toml", text)
	require.Empty(t, problems)
	compose, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	for at, says := range map[string]string{
		config.Listen.Proxy[0].String(): ":3128:3128\"",
		config.Listen.DNS[0].String():   ":53:53/udp\"",
	} {
		require.Contains(t, string(compose), says, at)
	}
	scrape, err := os.ReadFile("prometheus.yml")
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0:9081", config.Listen.Metrics[0].String())
	require.Contains(t, string(scrape), `"gatehouse:9081"`)
}
