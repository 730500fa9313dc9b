package appliance

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/metrics"
	"gatehouse/policy"
	"gatehouse/rules"
)

// allowing is a rules file that allows these hosts to this machine.
func allowing(hosts ...string) string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i, h := range hosts {
		fmt.Fprintf(&b, "\n[[allow]]\nname = \"rule-%d\"\nhosts = [%q]\n", i, h)
	}
	return b.String()
}

// desk is a rulebook over files of its own.
type desk struct {
	*rulebook
	dir, rules string
	reviews    int
}

func newDesk(t *testing.T, text string) *desk {
	t.Helper()
	dir := t.TempDir()
	d := &desk{dir: dir, rules: filepath.Join(dir, "rules.toml")}
	if text != "" {
		write(t, d.rules, text)
	}
	d.reopen()
	return d
}

// reopen is a restart of the process: the files are what stays.
func (d *desk) reopen() {
	d.rulebook = &rulebook{
		files: Files{Config: filepath.Join(d.dir, "gatehouse.toml"), Rules: d.rules}, kept: lastGood(filepath.Join(d.dir, "state", "last-good")),
		live: new(policy.Live), tags: newTagShelf(""), tally: metrics.New(metrics.Config{}), log: quiet(), now: time.Now,
		review: func() { d.reviews++ },
	}
	d.start()
}

// allows asks the policy in force about a tunnel to host:443.
func (d *desk) allows(t *testing.T, host string) policy.Verdict {
	t.Helper()
	h, err := policy.ParseHost(host)
	require.NoError(t, err)
	v, _ := d.live.Policy().Connect(policy.Connect{At: time.Now(), Surface: policy.CONNECT,
		Client: netip.MustParseAddr("127.0.0.1"), Dest: policy.Dest{Host: h, Port: 443}})
	return v
}

func (d *desk) metric(t *testing.T, want string) {
	t.Helper()
	require.Contains(t, scrape(t, d.tally), want+"\n")
}

func TestARulesFileThatIsGoodComesIntoForceAndIsKept(t *testing.T) {
	d := newDesk(t, allowing("a.example"))
	require.True(t, d.allows(t, "a.example").Allowed())
	require.Equal(t, FromFile, d.Status().Source)
	text, _, err := d.kept.load()
	require.NoError(t, err)
	require.Equal(t, allowing("a.example"), string(text))
	d.metric(t, "gatehouse_rules_last_reload_successful 1")
	d.metric(t, `gatehouse_rules_info{sha256="`+digest(text)+`"} 1`)
}

func TestAReloadSaysWhatChangesAndReviewsWhatIsOpen(t *testing.T) {
	d := newDesk(t, allowing("a.example", "b.example"))
	before := d.reviews
	write(t, d.rules, allowing("a.example", "c.example"))
	o := d.Reload(cause{}, false)
	require.True(t, o.Taken)
	require.Equal(t, []string{"allow rule-1 changes: hosts +c.example -b.example"}, o.Changes)
	require.Equal(t, before+1, d.reviews)
	require.False(t, d.allows(t, "b.example").Allowed())
}

func TestAnEvilReloadChangesNothing(t *testing.T) {
	for name, text := range map[string]string{
		"rubbish":                "version = 1\n[[allow]\n",
		"a misspelt key":         allowing("a.example") + "\n[[deny]]\nname = \"x\"\nhost = [\"b.example\"]\n",
		"nothing":                "",
		"a test that fails":      allowing("b.example") + "\n[[test]]\nallow = [\"CONNECT a.example:443\"]\n",
		"an unknown tag":         allowing("a.example") + "addresses = [\"azure:NoSuchTag\"]\n",
		"a write that broke off": strings.TrimSuffix(allowing("a.example", "b.example"), ".example\"]\n"),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, allowing("a.example"))
			before, policyBefore := d.Status(), d.live.Policy()
			require.NoError(t, os.WriteFile(d.rules, []byte(text), 0o600))
			o := d.Reload(cause{}, false)
			require.False(t, o.Taken)
			require.True(t, rules.HasErrors(o.Problems))
			require.Same(t, policyBefore, d.live.Policy(), "the old policy stays in force")
			require.Equal(t, before.Loaded, d.Status().Loaded)
			require.NotEmpty(t, d.Status().Refused)
			d.metric(t, "gatehouse_rules_last_reload_successful 0")
			text, _, err := d.kept.load()
			require.NoError(t, err)
			require.Equal(t, allowing("a.example"), string(text), "and the last good file is the old one")

			write(t, d.rules, allowing("a.example", "b.example"))
			require.True(t, d.Reload(cause{}, false).Taken, "a repaired file is taken")
			require.Empty(t, d.Status().Refused)
			d.metric(t, "gatehouse_rules_last_reload_successful 1")
		})
	}
}

func TestAtStartTheLastGoodFileHoldsWhereThePresentOneCannotBeLoaded(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"it is rubbish": func(t *testing.T, path string) { write(t, path, "version = ") },
		"it is gone":    func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, allowing("a.example"))
			spoil(t, d.rules)
			d.reopen()
			require.Equal(t, FromLastGood, d.Status().Source)
			require.True(t, d.allows(t, "a.example").Allowed())
			require.NotEmpty(t, d.Status().Refused, "and the problems of the present file are told")
			d.metric(t, "gatehouse_rules_last_reload_successful 0")

			require.NoError(t, os.RemoveAll(string(d.kept)))
			d.reopen()
			require.Equal(t, FromNowhere, d.Status().Source)
			v := d.allows(t, "a.example")
			require.False(t, v.Allowed())
			require.Equal(t, policy.NoPolicy, v.Reason)

			write(t, d.rules, allowing("b.example"))
			require.True(t, d.Reload(cause{}, true).Taken, "a repaired file ends it")
		})
	}
}

func TestAnUnchangedFileIsLoadedAlthoughTheWorldMakesItsTestsFail(t *testing.T) {
	yesterday := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	text := allowing("a.example") + "until = " + yesterday + "\n[[test]]\nallow = [\"CONNECT a.example:443\"]\n"
	d := newDesk(t, text)
	require.Equal(t, FromFile, d.Status().Source)
	d.now = func() time.Time { return time.Now().AddDate(0, 0, 3) }
	d.start()
	require.Equal(t, FromFile, d.Status().Source, "a restart after the rule's last day")
	require.True(t, d.Reload(cause{}, false).Taken)
	write(t, d.rules, text+"# changed\n")
	require.False(t, d.Reload(cause{}, false).Taken, "a changed file with a failing test stays out")
}

func TestAStateFolderThatCannotBeWrittenStopsNothing(t *testing.T) {
	d := newDesk(t, "")
	write(t, filepath.Join(d.dir, "state"), "a file where the folder should be")
	write(t, d.rules, allowing("a.example"))
	d.reopen()
	require.Equal(t, FromFile, d.Status().Source)
	require.True(t, d.allows(t, "a.example").Allowed())
}

func TestACarefulReloadLeavesAloneAFileThatLostMostOfItsRules(t *testing.T) {
	var hosts []string
	for i := range 10 {
		hosts = append(hosts, fmt.Sprintf("h%d.example", i))
	}
	for _, c := range []struct {
		name        string
		from, to    int
		taken       bool
		careful     bool
		whyNotTaken string
	}{
		{name: "ten rules become four", from: 10, to: 4, careful: true, whyNotTaken: "the file holds 4 rules where 10 are in force"},
		{name: "ten rules become five", from: 10, to: 5, careful: true, taken: true},
		{name: "nine rules become one", from: 9, to: 1, careful: true, taken: true},
		{name: "ten rules become four, and somebody asked for it", from: 10, to: 4, taken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, allowing(hosts[:c.from]...))
			write(t, d.rules, allowing(hosts[:c.to]...))
			o := d.Reload(cause{}, c.careful)
			require.Equal(t, c.taken, o.Taken)
			require.Contains(t, o.Held, c.whyNotTaken)
			require.Equal(t, o.Held, d.Status().Held)
			require.Equal(t, c.taken, d.live.Policy().SHA256() == digest([]byte(allowing(hosts[:c.to]...))))
		})
	}
}

func TestAFileThatIsGoneIsSaidAndTheRulesStay(t *testing.T) {
	d := newDesk(t, allowing("a.example"))
	require.NoError(t, os.Remove(d.rules))
	require.False(t, d.Reload(cause{}, true).Taken)
	require.True(t, d.allows(t, "a.example").Allowed())
	d.metric(t, "gatehouse_rules_last_reload_successful 0")
	require.Len(t, d.Status().Refused, 1)
	require.Equal(t, "the file is not there", d.Status().Refused[0].Message)
	require.Empty(t, d.Judged(), "put back as it was it is taken again, and no longer called missing")
}

func TestWhatIsNoRulesFileIsRefusedAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, message string
		put           func(t *testing.T, path string)
	}{
		{"a pipe that nobody writes to", "it is no regular file", func(t *testing.T, path string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) }},
		{"a device without end", "it is no regular file", func(t *testing.T, path string) { require.NoError(t, os.Symlink("/dev/zero", path)) }},
		{"a folder", "it is a folder", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }},
		{"a file that would fill the memory", "it is larger than 8 MiB", func(t *testing.T, path string) {
			write(t, path, "")
			require.NoError(t, os.Truncate(path, 1<<40)) // sparse: it costs no disk
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, allowing("a.example"))
			require.NoError(t, os.Remove(d.rules))
			c.put(t, d.rules)
			o := d.Reload(cause{}, false)
			require.False(t, o.Taken)
			require.Equal(t, "the file cannot be read: "+c.message, o.Problems[0].Message)
			require.Equal(t, "put a rules file in its place", o.Problems[0].Fix)
			require.True(t, d.allows(t, "a.example").Allowed(), "the rules in force stay")
			require.Equal(t, sight{gone: "the file cannot be read"}, lookAtFile(d.rules, mostText))
		})
	}
}

func TestAFileOfNothingButMistakesIsToldOfInBounds(t *testing.T) {
	d := newDesk(t, allowing("a.example"))
	write(t, d.rules, "version = 1\n"+strings.Repeat("[[allow]]\n", 2000))
	o := d.Reload(cause{}, false)
	require.False(t, o.Taken)
	require.Len(t, o.Problems, mostProblems+1)
	require.Equal(t, o.Problems, d.Status().Refused)
	last := o.Problems[mostProblems]
	require.Regexp(t, `^there are [0-9]+ further problems$`, last.Message)
	require.True(t, rules.HasErrors(o.Problems))
}
