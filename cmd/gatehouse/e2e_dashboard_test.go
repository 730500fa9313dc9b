package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// A misspelt metric is no error to Prometheus, only an empty panel. So a real
// Prometheus scrapes a real gate that is really asked something, and every panel
// of the dashboard, every recorded series and the alert on a refused agent must
// show something.

const boardFolder = "../../appliance/prometheus"

// boardMonitor begins a rules file whose refusals are only counted.
const boardMonitor = "version = 1\nmode = \"monitor\"\n"

func TestEndToEndDashboard(t *testing.T) {
	need(t, os.Getenv("GATEHOUSE_E2E") == "required", "GATEHOUSE_E2E=required asks for it: it takes a quarter of a minute, and Prometheus")
	needTools(t)
	_, err := exec.LookPath("prometheus")
	need(t, err == nil, "prometheus is not installed")
	dns := world(t)
	g := newGate(t, buildBinary(t), e2eRules, dns)
	g.start(t)
	g.askAround(t)
	p := startPrometheus(t, g)

	rounds := 0
	round := func() {
		rounds++
		g.askAround(t)
	}
	p.eventually(t, "the alert on a refused agent", round, func() string {
		return p.missing(`ALERTS{alertname="GatehouseAgentRefused", reason="type-not-listed"}`)
	})
	g.write(t, "rules.toml", boardMonitor+strings.TrimPrefix(e2eRules, "version = 1\n"))
	code, said := g.reload(t)
	require.Equal(t, http.StatusOK, code, said)
	for _, q := range boardQueries(t) {
		p.eventually(t, q.panel, round, func() string { return p.missing(q.expr) })
	}
	for _, r := range p.rules(t) {
		require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
	}
	for _, record := range []string{"gatehouse:denied:increase15m", "gatehouse:allowed:increase15m",
		"gatehouse:upstream_failed:increase15m", "gatehouse:dns_upstream_failures:ratio5m"} {
		p.eventually(t, record, round, func() string { return p.missing(record) })
	}
}

// askAround has the gate permit, refuse, fail to reach and answer something.
func (g *gate) askAround(t *testing.T) {
	t.Helper()
	for _, url := range []string{
		"http://www.groupcall.co.uk/update.inf", "http://www.groupcall.co.uk/portal.inf", "http://www.example.org/",
		"https://www.groupcall.co.uk/update.inf",
		"https://g0-prod-db3-001-sb.servicebus.windows.net:9352/", // nobody listens there
	} {
		g.curl(t, "-k", "-o", "/dev/null", "--max-time", "5", url)
	}
	g.dig(t, "emergeen.servicebus.windows.net")
	g.dig(t, "www.example.org")
}

// prometheus is a running Prometheus that scrapes a gate each second.
type prometheus struct{ at, dir string }

func startPrometheus(t *testing.T, g *gate) *prometheus {
	t.Helper()
	p := &prometheus{at: freeAddresses(t, "127.0.0.76", 1)[0], dir: t.TempDir()}
	folder, err := filepath.Abs(boardFolder)
	require.NoError(t, err)
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q, %q]
scrape_configs:
  - job_name: gatehouse
    static_configs: [{targets: [%q]}]
`, filepath.Join(folder, "records.yml"), filepath.Join(folder, "alerts.yml"), g.admin)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "prometheus.yml"), []byte(config), 0o644))
	said, err := os.Create(filepath.Join(p.dir, "said"))
	require.NoError(t, err)
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(p.dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(p.dir, "data"), "--web.listen-address="+p.at, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	said.Close()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p.eventually(t, "Prometheus is ready", func() {}, func() string {
		resp, err := http.Get("http://" + p.at + "/-/ready")
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.Status
		}
		return ""
	})
	return p
}

// eventually repeats what makes a claim come true until nothing is missing.
func (p *prometheus) eventually(t *testing.T, claim string, act func(), missing func() string) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(4 * nettest.Patience); ; <-tick.C {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(filepath.Join(p.dir, "said"))
			t.Fatalf("not within %s: %s: %s\n%s", 4*nettest.Patience, claim, why, said)
		}
		act()
	}
}

func (p *prometheus) ask(path string, into any) error {
	resp, err := http.Get("http://" + p.at + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return json.Unmarshal(body, into)
}

// missing says why a query shows nothing, empty where it shows something.
func (p *prometheus) missing(expr string) string {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := p.ask("/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		return err.Error()
	}
	for _, series := range answer.Data.Result {
		if series.Value[1] != "NaN" {
			return ""
		}
	}
	return fmt.Sprintf("%d series and no number: %s", len(answer.Data.Result), expr)
}

type ruleHealth struct{ Name, Health, LastError string }

func (p *prometheus) rules(t *testing.T) (all []ruleHealth) {
	t.Helper()
	var answer struct {
		Data struct {
			Groups []struct{ Rules []ruleHealth }
		}
	}
	require.NoError(t, p.ask("/api/v1/rules", &answer))
	for _, group := range answer.Data.Groups {
		all = append(all, group.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

type boardQuery struct{ panel, expr string }

// boardQueries are the queries of the dashboard, with Grafana's variables filled
// in as Grafana fills them.
func boardQueries(t *testing.T) (all []boardQuery) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(boardFolder, "dashboard.json"))
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &board))
	fill := strings.NewReplacer("$__rate_interval", "30s", "$__range", "10m", "$instance", ".*")
	for _, panel := range board.Panels {
		if panel.Type != "row" {
			require.NotEmpty(t, panel.Targets, panel.Title)
		}
		for _, target := range panel.Targets {
			expr := fill.Replace(target.Expr)
			require.NotContains(t, expr, "$", "%s: a variable that the test does not know", panel.Title)
			all = append(all, boardQuery{panel.Title, expr})
		}
	}
	require.NotEmpty(t, all)
	return all
}
