package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// TestMain lets the test binary be the bench's own programs, as the bench is.
func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		fail(role(os.Args[1:]))
		return
	}
	os.Exit(m.Run())
}

// tiny is a run that proves that everything can be measured, and nothing else.
var tiny = plan{
	Rounds: 1, Clients: 4, Window: 50 * time.Millisecond, Chunks: 3, Gap: time.Millisecond, Trips: 20, Patience: time.Minute,
	Tunnels: 20, Few: 10, Many: 200, Limit: 9 * time.Minute, // the build of gatehouse, too
}

func TestATinyRoundFindsAFigureForEveryRowWithoutAnyPeerInstalled(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), tiny.Limit)
	defer cancel()
	gatehouse, err := buildGatehouse(ctx, b.dir)
	require.NoError(t, err)
	b.targets = installed(targets(gatehouse), "gatehouse, net/http, relay, direct")
	require.Len(t, b.targets, 4)

	r, err := b.run(ctx)
	require.NoError(t, err)

	for _, target := range b.targets {
		require.Empty(t, r.failures[target.name], target.name)
	}
	for _, row := range rows {
		if why := b.targets[0].skips[row.scenario]; why != "" {
			t.Log("without ", row.key, ": ", why)
			continue
		}
		require.Len(t, r.found["gatehouse"][row.key], 1, row.key)
		switch {
		case !row.ratio, row.scenario == "idle", row.key == "names-mib": // small memory may round to none
		case row.key == "reload-cpu": // a tiny plan does not wait until a short list has been read
			require.GreaterOrEqual(t, r.found["gatehouse"][row.key][0], 0.0)
		default:
			require.Positive(t, r.found["gatehouse"][row.key][0], row.key)
		}
	}
	for _, name := range []string{"gatehouse", "net/http", "relay", "direct"} {
		require.EqualValues(t, []float64{20}, r.found[name]["duplex-turns"], name)
	}
	for _, name := range []string{"gatehouse", "net/http", "relay"} {
		require.EqualValues(t, []float64{20}, r.found[name]["idle-alive"], name)
	}
	require.Empty(t, r.found["direct"]["get"], "the straight way has no program whose time could be measured")

	text := report{machine: survey(ctx, settings{}, b.targets), results: r, targets: b.targets, plan: tiny}.markdown()
	require.Contains(t, text, "| | gatehouse | net/http | relay | direct |")
	require.NotContains(t, text, "fails")
	require.NotContains(t, text, "NaN")
}

// newBench is a bench of the tiny plan in a folder of its own, or skips the test
// where the machine lacks what it needs.
func newBench(t *testing.T) *bench {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the figures come from Linux's /proc and process clocks")
	}
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("this kernel shows no smaps_rollup: ", err)
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to build gatehouse with")
	}
	s, err := newSite()
	if err != nil {
		t.Skip("the origin cannot be opened on ", originAddress, ": ", err)
	}
	t.Cleanup(func() { s.Close() })
	return &bench{site: s, dir: t.TempDir(), plan: tiny, scenarios: scenarios, cpu: -1, say: t.Output()}
}

func TestAProgramThatDoesNotStartIsTold(t *testing.T) {
	b := newBench(t)
	quits := &target{name: "quits", prepare: func(setup) (command, error) {
		return command{argv: []string{"sh", "-c", "echo the port is taken; exit 1"}}, nil
	}}
	_, err := quits.start(t.Context(), b.site, b.dir, -1, 10, false)
	require.ErrorContains(t, err, "quits did not answer")
	require.ErrorContains(t, err, "the port is taken")

	b.targets = []*target{quits}
	_, err = b.run(t.Context())
	require.ErrorContains(t, err, "quits did not answer", "without the first column there is nothing to compare with")
}

func TestARunThatIsStoppedSaysWhy(t *testing.T) {
	b := newBench(t)
	b.targets = installed(targets(""), "direct")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrDeadlineExceeded)
	_, err := b.run(ctx)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestTheNameServerAnswersAddressesAndNothingElse(t *testing.T) {
	name := dnsmessage.MustNewName(originName + ".")
	for _, c := range []struct {
		name    string
		kind    dnsmessage.Type
		answers int
	}{
		{"A is the origin", dnsmessage.TypeA, 1},
		{"AAAA has no data", dnsmessage.TypeAAAA, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			query := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: name, Type: c.kind, Class: dnsmessage.ClassINET}}}
			packet, err := query.Pack()
			require.NoError(t, err)
			reply, err := answerName(packet)
			require.NoError(t, err)
			var m dnsmessage.Message
			require.NoError(t, m.Unpack(reply))
			require.EqualValues(t, 7, m.ID)
			require.Len(t, m.Answers, c.answers)
			for _, a := range m.Answers {
				require.Equal(t, originAddress, net.IP(a.Body.(*dnsmessage.AResource).A[:]).String())
			}
		})
	}
	_, err := answerName([]byte("no packet"))
	require.Error(t, err)
}

func TestTheNameAskedForStandsInTheMiddleOfTheList(t *testing.T) {
	names := hostNames(originName, 10)
	require.Len(t, names, 10)
	require.Equal(t, originName, names[5])
}

func TestProgramsDoNotInheritProxiesOrSettingsOfTheRunner(t *testing.T) {
	t.Setenv("https_proxy", "http://127.0.0.1:9")
	t.Setenv("GOMAXPROCS", "7")
	t.Setenv(roleVariable, "relay")
	t.Setenv("KEPT", "yes")
	require.Contains(t, cleanEnvironment(), "KEPT=yes")
	for _, gone := range []string{"https_proxy=http://127.0.0.1:9", "GOMAXPROCS=7", roleVariable + "=relay"} {
		require.NotContains(t, cleanEnvironment(), gone)
	}
}

func TestAScenarioThatIsNotThereIsRefusedByName(t *testing.T) {
	chosen, err := choose(scenarios, "duplex, get")
	require.NoError(t, err)
	require.Len(t, chosen, 2)
	require.Equal(t, "get", chosen[0].key, "in the order of a round")
	_, err = choose(scenarios, "gett")
	require.ErrorContains(t, err, `no scenario "gett"`)
}

func TestTheTableIsPutBetweenItsMarksAndNowhereElse(t *testing.T) {
	r := sampleReport()
	page := filepath.Join(t.TempDir(), "performance.md")
	require.NoError(t, os.WriteFile(page, []byte("before\n"+marks.Begin+"\nold\n"+marks.End+"\nafter\n"), 0o644))
	require.NoError(t, marks.Replace(page, r.markdown()))
	require.NoError(t, marks.Replace(page, r.markdown()), "and again")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, "before\n"+marks.Begin+"\n\n"+r.markdown()+"\n"+marks.End+"\nafter\n", string(text))

	require.NoError(t, os.WriteFile(page, []byte("no marks"), 0o644))
	require.ErrorContains(t, marks.Replace(page, r.markdown()), "lacks the lines", "the page is not overwritten")
	require.ErrorContains(t, marks.Replace(page, r.markdown()), "| small GET", "and the figures are not lost")
}
