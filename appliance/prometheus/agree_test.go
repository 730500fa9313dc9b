// Package prometheus_test holds the alerts, the recording rules and the dashboard
// to the metrics that there are, and the documentation to the alerts. What they
// do is tested by promtool (alerts_test.yml) and, against a running gate, by
// cmd/gatehouse.
package prometheus_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"
)

// ruleFile is a file of rules as Prometheus reads it.
type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Record      string            `yaml:"record"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func parse(t *testing.T, path string) ruleFile {
	t.Helper()
	var f ruleFile
	require.NoError(t, yaml.UnmarshalStrict([]byte(read(t, path)), &f))
	require.NotEmpty(t, f.Groups)
	return f
}

var (
	documentedMetric = regexp.MustCompile("(?m)^\\| `(gatehouse_[a-z0-9_]+)(?:\\{[a-z0-9_,]+\\})?` \\|")
	documentedAlert  = regexp.MustCompile("(?m)^\\| `(Gatehouse[A-Za-z]+)` \\| ([a-z]+) \\|")
	// A recording rule's name has colons and is not looked for here.
	usedMetric = regexp.MustCompile(`\bgatehouse_[a-z0-9_]+\b`)
)

// series are the names under which the documented metrics are scraped.
func series(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for _, m := range documentedMetric.FindAllStringSubmatch(read(t, "../../docs/metrics.md"), -1) {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			names[m[1]+suffix] = true
		}
	}
	require.NotEmpty(t, names)
	return names
}

func TestRulesAndDashboardNameMetricsThatExist(t *testing.T) {
	known := series(t)
	for _, file := range []string{"alerts.yml", "records.yml", "dashboard.json", "alerts_test.yml"} {
		used := usedMetric.FindAllString(read(t, file), -1)
		require.NotEmpty(t, used, file)
		for _, name := range used {
			require.True(t, known[name], "%s names %s, which docs/metrics.md does not", file, name)
		}
	}
}

func TestWhatIsRecordedIsUsedAndWhatIsUsedIsRecorded(t *testing.T) {
	recorded := map[string]bool{}
	for _, r := range parse(t, "records.yml").Groups[0].Rules {
		recorded[r.Record] = true
	}
	used := map[string]bool{}
	for _, file := range []string{"alerts.yml", "dashboard.json"} {
		for _, name := range regexp.MustCompile(`\bgatehouse:[a-z0-9_]+:[a-z0-9_]+\b`).FindAllString(read(t, file), -1) {
			used[name] = true
		}
	}
	require.Equal(t, recorded, used)
}

func TestEachAlertIsDocumentedTestedAndSaysWhatToDo(t *testing.T) {
	documented := map[string]string{}
	for _, m := range documentedAlert.FindAllStringSubmatch(read(t, "../../docs/metrics.md"), -1) {
		documented[m[1]] = m[2]
	}
	tests := read(t, "alerts_test.yml")
	found := map[string]string{}
	for _, group := range parse(t, "alerts.yml").Groups {
		for _, r := range group.Rules {
			found[r.Alert] = r.Labels["severity"]
			require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], r.Alert)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.True(t, strings.HasSuffix(r.Annotations["description"], "."), r.Alert)
			require.Regexp(t, `eval_time: \S+\s+alertname: `+r.Alert+`\s+exp_alerts:`, tests, "no test raises it")
			require.Regexp(t, `eval_time: \S+, alertname: `+r.Alert+`\}`, tests, "no test leaves it quiet")
		}
	}
	require.Equal(t, found, documented)
}

func TestTheDashboardNamesItsPanelsOnceAndPlacesThemOnItsGrid(t *testing.T) {
	var board struct {
		Panels []struct {
			ID      int    `json:"id"`
			Title   string `json:"title"`
			Type    string `json:"type"`
			GridPos struct{ H, W, X, Y int }
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "dashboard.json")), &board))
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], "panel %d stands twice", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s stands upon another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	require.NotEmpty(t, ids)
}
