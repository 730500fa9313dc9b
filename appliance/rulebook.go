package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/appliance/journal"
	"gatehouse/metrics"
	"gatehouse/policy"
	"gatehouse/rules"
)

// Source is where the rules in force came from.
type Source string

// The sources; the zero value is "none": everything is refused.
const (
	FromNowhere  Source = ""
	FromFile     Source = "rules file"
	FromLastGood Source = "last good file"
	FromBuiltIn  Source = "built-in rules"
)

// Status is what is in force, and what became of the last attempt to change it.
// It is immutable.
type Status struct {
	Source Source
	File   string // the rules file, as it is called in messages
	Since  time.Time
	Loaded *rules.Loaded // nil: nothing is in force
	// Refused are the problems of the file in its place, where the last attempt
	// failed; Held says why the watcher left it alone. Both empty: the file in
	// its place is the one in force.
	Refused []rules.Problem // at most mostProblems
	Held    string
	Tags    string // trouble with the service tags, in a sentence
}

// Policy is the policy in force, nil where there is none.
func (s *Status) Policy() *policy.Policy {
	if s.Loaded == nil {
		return nil
	}
	return s.Loaded.Policy
}

// publishes are the ways in, none where nothing is in force.
func (s *Status) publishes() []rules.Publish {
	if s == nil || s.Loaded == nil {
		return nil
	}
	return s.Loaded.Publishes
}

// Outcome is what became of one attempt to load the rules file.
type Outcome struct {
	Taken    bool
	Changes  []string // in words, where Taken
	Problems []rules.Problem
	Held     string // why the file was not taken although it may be loaded
}

// rulebook keeps the rules in force: it loads the file, puts it in force, and
// remembers what was in force last. All of it happens one at a time.
type rulebook struct {
	files   Files
	env     rules.Env // without Now and LastSHA256
	kept    lastGood
	journal journal.Journal
	live    *policy.Live
	tags    *tagShelf
	tally   *metrics.Tally
	log     *slog.Logger
	now     func() time.Time
	review  func() // ends passages that the new policy does not permit

	mu     sync.Mutex
	text   []byte // of the rules in force
	judged string // digest of the bytes that were tried last
	status atomic.Pointer[Status]
}

// Status is what is in force now, never nil after start.
func (b *rulebook) Status() *Status { return b.status.Load() }

// Judged is the digest of the bytes that were tried last, whatever became of
// them.
func (b *rulebook) Judged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.judged
}

// Text is the rules in force, as they are written; nobody may change it.
func (b *rulebook) Text() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text
}

// Weigh says what a rules file would be if it were in force, and changes nothing.
func (b *rulebook) Weigh(text []byte) (*rules.Loaded, []rules.Problem) {
	return b.load(text, b.inForce())
}

// comesBack is a rules file where it can be loaded, else the rules in force; where
// there are none, the file all the same.
func (b *rulebook) comesBack(file []byte) []byte {
	if loaded, _ := b.Weigh(file); loaded != nil {
		return file
	}
	if text := b.Text(); text != nil {
		return text
	}
	return file
}

// start puts the rules file in force or, where it cannot be loaded, the file
// that was in force last, or nothing: then everything is refused.
func (b *rulebook) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Store(&Status{File: b.files.RulesName()})
	last, when, lastErr := b.kept.load()
	text, problems := b.read()
	if len(problems) == 0 {
		b.judged = digest(text)
		var loaded *rules.Loaded
		if loaded, problems = b.load(text, digest(last)); loaded != nil {
			b.putInForce(text, loaded, b.sourceOfFile())
			b.begun()
			return
		}
	}
	b.refused(problems, "")
	if lastErr != nil {
		b.log.Error("no rules are in force: everything is refused until the rules file can be loaded; repair it, then run: gatehouse reload",
			"rules", b.files.RulesName(), "last_good_file", lastErr)
		return
	}
	loaded, problems := b.load(last, digest(last))
	if loaded == nil {
		b.log.Error("no rules are in force: the last good file cannot be loaded either; everything is refused", "problems", brief(problems))
		return
	}
	b.text = last
	b.swap(loaded, FromLastGood)
	b.tally.RulesKept(loaded.SHA256, len(loaded.Unenforced))
	b.log.Error("the last good rules file is in force, because the present one cannot be loaded; repair it, then run: gatehouse reload",
		"rules", b.files.RulesName(), "in_force_since", when, "sha256", loaded.SHA256)
	b.begun("the last good file, because the present one cannot be loaded")
}

func (b *rulebook) sourceOfFile() Source {
	if b.files.Rules == "" {
		return FromBuiltIn
	}
	return FromFile
}

// Reload loads the rules file and puts it in force. A careful reload leaves
// alone a file that has lost more than half of its rules.
func (b *rulebook) Reload(c cause, careful bool) Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.reload(careful)
	b.journalize(c, o)
	return o
}

func (b *rulebook) reload(careful bool) Outcome {
	text, problems := b.read()
	if len(problems) > 0 {
		b.judged = "" // once it is back it is news, whatever is in it
		return b.refused(problems, "")
	}
	b.judged = digest(text)
	before := b.Status()
	loaded, problems := b.load(text, b.inForce())
	switch {
	case loaded == nil:
		return b.refused(problems, "")
	case careful && shrunk(before.Loaded, loaded):
		return b.refused(problems, fmt.Sprintf("the file holds %d rules where %d are in force; it is not taken without asking: run gatehouse reload --force if this is meant",
			loaded.RuleCount, before.Loaded.RuleCount))
	}
	words := rules.Changes(before.Loaded, loaded)
	b.putInForce(text, loaded, b.sourceOfFile())
	return Outcome{Taken: true, Changes: words, Problems: foremost(problems)}
}

// shrunk reports whether a file of at least ten rules lost more than half.
func shrunk(before, after *rules.Loaded) bool {
	return before != nil && before.RuleCount >= 10 && 2*after.RuleCount < before.RuleCount
}

// Renew makes the policy anew from the rules in force, because something else
// that they depend on has changed (the service tags). Where that fails, the
// policy in force stays.
func (b *rulebook) Renew() []rules.Problem {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.Status()
	if before.Loaded == nil {
		return nil
	}
	loaded, problems := b.load(b.text, b.inForce())
	if loaded == nil {
		return problems
	}
	b.swap(loaded, before.Source)
	b.note(func(s *Status) { s.Refused, s.Held, s.Since = before.Refused, before.Held, before.Since })
	return nil
}

// Tags notes what is wrong with the service tags; empty: nothing.
func (b *rulebook) Tags(trouble string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(func(s *Status) { s.Tags = trouble })
}

// read reads the rules file; what keeps it from being read is a problem.
func (b *rulebook) read() ([]byte, []rules.Problem) {
	text, err := b.files.ReadRules()
	if err != nil {
		return nil, []rules.Problem{unreadable(b.files.RulesName(), err)}
	}
	return text, nil
}

// unreadable is the problem of a file that cannot be read.
func unreadable(name string, err error) rules.Problem {
	p := rules.Problem{File: name, Level: rules.Error, Code: codeUnreadable, Message: "the file cannot be read: " + err.Error(),
		Fix: "put a rules file in its place", Why: "the rules in force stay as they are"}
	var path *fs.PathError
	if errors.As(err, &path) {
		p.Message = "the file cannot be read: " + path.Err.Error()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Message, p.Fix = "the file is not there", "put it back in its place"
	case errors.Is(err, fs.ErrPermission):
		p.Fix = "make it readable for the user that gatehouse runs as"
	}
	return p
}

// load makes a policy of a file. Should a file make the reader panic, that is a
// problem of the file like any other: the rules in force stay.
func (b *rulebook) load(text []byte, last string) (loaded *rules.Loaded, problems []rules.Problem) {
	defer func() {
		if fault := recover(); fault != nil {
			b.log.Error("a fault in gatehouse: the rules file made its reader panic", "fault", fault, "stack", string(debug.Stack()))
			loaded, problems = nil, []rules.Problem{{File: b.files.RulesName(), Level: rules.Error, Code: codeFault,
				Message: "gatehouse could not read the file, and that is a fault of gatehouse", Fix: "undo the last change to the file"}}
		}
	}()
	env := b.env
	env.Now, env.Tags, env.LastSHA256 = b.now(), b.tags, last
	return rules.Load(b.files.RulesName(), text, env)
}

// inForce is the digest of the rules in force, empty where there are none.
func (b *rulebook) inForce() string {
	if s := b.Status(); s.Loaded != nil {
		return s.Loaded.SHA256
	}
	return ""
}

// putInForce is the end of every load that went well.
func (b *rulebook) putInForce(text []byte, loaded *rules.Loaded, from Source) {
	b.text = text
	b.swap(loaded, from)
	b.tally.RulesLoaded(loaded.SHA256, len(loaded.Unenforced))
	b.log.Info("rules in force", "rules", b.files.RulesName(), "sha256", loaded.SHA256, "mode", loaded.Mode.String(),
		"count", loaded.RuleCount, "unenforced_clauses", len(loaded.Unenforced))
	for _, p := range foremost(loaded.Problems) {
		b.log.Warn("rules: "+p.Message, "at", fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column), "code", p.Code, "fix", p.Fix)
	}
	if loaded.Mode == policy.Monitor {
		b.log.Warn("monitor mode: what the rules would refuse is let through and written down as would_deny")
	}
	if err := b.kept.keep(text); err != nil {
		b.log.Error("the rules in force could not be kept: after a restart there may be no last good file; make state.dir writable", "err", err)
	}
	if len(text) > largeFile {
		debug.FreeOSMemory()
	}
}

// largeFile is the size from which what reading a file leaves behind (some fifty
// times its size) is given back to the system at once: appliances are small.
const largeFile = 1 << 20

// swap puts a policy in force and ends what it does not permit.
func (b *rulebook) swap(loaded *rules.Loaded, from Source) {
	old := b.Status()
	b.live.Swap(loaded.Policy)
	b.status.Store(&Status{Source: from, File: b.files.RulesName(), Since: b.now(), Loaded: loaded,
		Refused: b.refusedAtStart(from, old), Tags: old.Tags})
	b.review()
}

// refusedAtStart keeps the problems of the present file in view while the last
// good one is in force.
func (b *rulebook) refusedAtStart(from Source, old *Status) []rules.Problem {
	if from == FromLastGood {
		return old.Refused
	}
	return nil
}

// refused says why the file was not taken, everywhere: log, metric, status.
func (b *rulebook) refused(problems []rules.Problem, held string) Outcome {
	problems = foremost(problems)
	b.note(func(s *Status) { s.Refused, s.Held = problems, held })
	b.tally.RulesRefused()
	if held != "" {
		b.log.Error("the rules file was not taken; the rules in force stay", "rules", b.files.RulesName(), "because", held)
	} else {
		b.log.Error("the rules file cannot be loaded; the rules in force stay", "rules", b.files.RulesName(), "problems", brief(problems))
	}
	return Outcome{Problems: problems, Held: held}
}

// note changes a copy of the status and puts it in place.
func (b *rulebook) note(change func(*Status)) {
	s := *b.Status()
	change(&s)
	b.status.Store(&s)
}

// mostProblems bounds how many problems of one file are kept and told: a file
// that is rubbish from end to end has as many as it has lines.
const mostProblems = 100

// foremost is the first problems of a file, errors before warnings where not all
// can be told, and a last one that says how many there are besides.
func foremost(problems []rules.Problem) []rules.Problem {
	if len(problems) <= mostProblems {
		return problems
	}
	first := make([]rules.Problem, 0, mostProblems+1)
	level := rules.Warning
	if rules.HasErrors(problems) {
		level = rules.Error
	}
	for _, p := range problems {
		if p.Level == level && len(first) < mostProblems {
			first = append(first, p)
		}
	}
	return append(first, rules.Problem{File: problems[0].File, Level: level, Code: codeMany,
		Message: fmt.Sprintf("there are %d further problems", len(problems)-len(first)),
		Fix:     "repair those above, then ask again; gatehouse check tells all of them"})
}

// brief is the first lines of what is wrong, for the log; the admin listener
// and "gatehouse check" tell all of it.
func brief(problems []rules.Problem) []string {
	var lines []string
	for _, p := range problems {
		if p.Level == rules.Error && len(lines) < 10 {
			first, _, _ := strings.Cut(p.String(), "\n")
			lines = append(lines, first)
		}
	}
	return lines
}
