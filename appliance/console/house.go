package console

import (
	"context"
	"errors"
	"time"
)

// House is what the console shows. Its methods are called by many goroutines at
// once and must not hold up the gate.
type House interface {
	Past
	Keeper
	State() State
	Packs() []Pack
	// Decisions are the newest first, at most n that fit f.
	Decisions(ctx context.Context, f Filter, n int) []Decision
	// Page is like Decisions, of those behind the place that an earlier Page called Next;
	// before may be the id of a decision, too, or empty for the newest. The error is
	// ErrNoPlace.
	Page(ctx context.Context, f Filter, n int, before string) (Page, error)
	// Follow hands on the decisions that fit f as they are made; first those that are
	// kept and newer than the decision after, or all where that is empty. The error is
	// for whoever asked.
	Follow(f Filter, after string) (Follower, error)
	// Names are those that clients asked for lately, the newest first, at most n of
	// which part is a part.
	Names(part string, n int) []Name
	// Day counts the decisions of the last 24 hours, the oldest first.
	Day() []Slot
	// Decision explains one of the last decisions; false where it is not kept.
	Decision(ctx context.Context, id string) (Answer, bool)
	// Ask explains a passage that somebody describes. The error is for whoever
	// asked.
	Ask(client, target string) (Answer, error)
	Rules() Rules
	// Check says what a rules file would do, without putting it in force.
	Check(text []byte) Draft
	// Apply puts a draft in its place and in force. Where it is not confirmed
	// until the trial is over, the file of before comes back. by is who asked, for
	// the log; base is the SHA-256 of the file that the draft was made from.
	Apply(by, base string, text []byte) (Trial, error)
	// Confirm keeps the draft on trial whose SHA-256 is given, Revert brings the
	// file of before back.
	Confirm(by, draft string) error
	Revert(by, draft string) error
	// Health is how each part of the gate does, as far as that can be told at once.
	Health() Health
	// Examine has the doctor try one pack, or all (""), which takes a while.
	Examine(ctx context.Context, pack string, active bool) (Examined, error)
}

// State is what is in force, in sentences, foremost what needs somebody.
type State struct {
	Ready      bool      `json:"ready"`
	Mode       string    `json:"mode"`
	Lines      []string  `json:"lines"`
	Version    string    `json:"version"`
	Now        time.Time `json:"now"`        // in the appliance's time zone
	Unenforced []string  `json:"unenforced"` // clauses that cannot be checked
	// Trial is the draft that waits for its confirmation; nil: none does.
	Trial *Trial `json:"trial"`
}

// Trial is a rules file that was put in force and waits for its confirmation.
type Trial struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // when the file of before comes back
	// SHA256 is the digest of the draft, so that nobody confirms another's.
	SHA256 string `json:"sha256"`
}

// Pack is one pack in use, with what became of it lately.
type Pack struct {
	Name         string        `json:"name"`
	Requirements []Requirement `json:"requirements"`
}

// Requirement is one rule of a pack and its last passages among those kept.
type Requirement struct {
	Rule    string   `json:"rule"`
	Because string   `json:"because"` // the vendor's sentence
	Hosts   []string `json:"hosts"`
	// State is "works", "refused", "trouble" (permitted, and the world failed) or
	// "quiet" (nothing happened).
	State   string    `json:"state"`
	Passed  time.Time `json:"passed"` // zero: never
	Refused *Decision `json:"refused"`
}

// Filter picks decisions; an empty field fits all. Host and Client fit parts.
type Filter struct {
	Surface, Client, Host, Verdict, Reason, Rule string
}

// Page is a part of a list of decisions.
type Page struct {
	Decisions []Decision `json:"decisions"` // the newest first
	// Next is before of the page behind this one; empty: this is the last.
	Next string `json:"next,omitempty"`
}

// ErrNoPlace says that a page was asked for behind a decision that is not kept.
var ErrNoPlace = errors.New("the decision that this page was to begin behind is not kept, or no longer; begin with the newest")

// Slot counts the decisions of a quarter of an hour.
type Slot struct {
	Start     time.Time `json:"start"`
	Allowed   int       `json:"allowed"`
	Denied    int       `json:"denied"`
	WouldDeny int       `json:"would_deny"`
}

// Follower is somebody who looks on. Whoever got it closes it.
type Follower interface {
	// Next waits for decisions and gives the oldest first, and how many were left out
	// because they came too fast; or the error of ctx, or why no more will come.
	Next(ctx context.Context) (list []Decision, missed int, err error)
	Close()
}

// Decision is one passage that was decided.
type Decision struct {
	Time    time.Time `json:"ts"`
	ID      string    `json:"id"`
	Surface string    `json:"surface"`
	Client  string    `json:"client"`
	Group   string    `json:"group"`
	Passage string    `json:"passage"`
	Verdict string    `json:"verdict"`
	Reason  string    `json:"reason"`
	Why     string    `json:"why"` // the reason in a sentence; empty where it was allowed
	Rule    string    `json:"rule"`
	Line    int       `json:"line"`
	Permit  *Permit   `json:"permit"` // nil: it was allowed
}

// Permit is what would carry a refused passage on, by the rules in force.
type Permit struct {
	Says string `json:"says"` // the change in words, or why there is none to propose
	// Text is TOML, ready to copy; empty where no edit of one place would do. Line is
	// that of the line it replaces; 0: it is a rule to add.
	Text string `json:"text"`
	Line int    `json:"line"`
}

// Answer is an explanation.
type Answer struct {
	Account any    // what the JSON interface gives
	Text    string // for a person
	Verdict string
	// Proposal is the edit or rule that would permit it, ready to copy; empty
	// where none would.
	Proposal string
}

// Rules is the rules file in force.
type Rules struct {
	File       string     `json:"file"`
	SHA256     string     `json:"sha256"`
	Since      time.Time  `json:"since"`
	Source     string     `json:"source"`
	Text       string     `json:"text"`
	Writable   bool       `json:"writable"`
	Unenforced []string   `json:"unenforced"`
	Used       []RuleUse  `json:"used"`
	Base       string     `json:"base"`     // SHA-256 of the file in its place; empty: there is none
	Problems   []string   `json:"problems"` // of the file in its place, where that is not the one in force
	Passages   int        `json:"passages"` // among how many decisions the uses were counted
	Oldest     *time.Time `json:"oldest"`   // of these decisions
}

// RuleUse is how often a rule decided.
type RuleUse struct {
	Rule string    `json:"rule"`
	Line int       `json:"line"`
	Uses int       `json:"uses"`
	Last time.Time `json:"last"`
	// Remarks are what somebody should look at: ends soon, has ended.
	Remarks []string `json:"remarks"`
}

// Draft is what a rules file would do.
type Draft struct {
	Loadable bool     `json:"loadable"`
	Problems []string `json:"problems"`
	Changes  []string `json:"changes"` // in words, against the rules in force
	// Replay tells what it would have decided otherwise about the decisions
	// that are kept.
	Replay string `json:"replay"`
}

// ErrReadOnly says that the rules file cannot be written from here.
var ErrReadOnly = errors.New("the rules file cannot be written from here; copy the draft to where it is kept")

// ErrNoTrial says that no draft waits for a confirmation.
var ErrNoTrial = errors.New("no draft is on trial; it was confirmed, or the file of before is back")

// ErrOtherTrial says that the draft on trial is another than the one that is meant.
var ErrOtherTrial = errors.New("another draft is on trial by now; look at the rules in force first")

// ErrStale says that a draft was made from a file that is there no more.
var ErrStale = errors.New("the rules file has changed since this draft was begun; take your change to the file as it is now, so that nothing of the other change is lost")

// ErrFileChanged says that nothing came back, because somebody else wrote the file.
var ErrFileChanged = errors.New("somebody else changed the rules file while the draft was on trial; it stays as it is")

// Health is how each part of the gate does.
type Health struct {
	Version  string    `json:"version"`
	Revision string    `json:"revision"`
	Go       string    `json:"go"`
	Findings []Finding `json:"findings"`
	Doctor   *Examined `json:"doctor"` // the last run; nil: none since the start
}

// Finding is one part, or a heading over several.
type Finding struct {
	Name  string    `json:"name"`
	State string    `json:"state"` // "ok", "not tried", "warning" or "failed"
	Says  string    `json:"says"`
	Fix   string    `json:"fix"`
	Parts []Finding `json:"parts,omitempty"`
}

// Examined is a report of the doctor.
type Examined struct {
	At     time.Time `json:"at"`
	State  string    `json:"state"`  // as a Finding's
	Report any       `json:"report"` // what the JSON interface gives
	Text   string    `json:"-"`      // for a person
}
