package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"gatehouse/policy"
)

// TagSource knows the service tags in force. A tag's name is compared without
// case, as a whole.
type TagSource interface {
	Prefixes(tag string) (list []netip.Prefix, ok bool)
	Names() []string
}

// Env is what a rules file depends on besides its bytes.
type Env struct {
	Now  time.Time
	Zone *time.Location // of dates; nil: UTC
	Tags TagSource      // nil: no tag is known
	// ClientsAllow and TreatAsPublic are the settings of gatehouse.toml.
	ClientsAllow, TreatAsPublic []netip.Prefix
	// Inspection says that the appliance looks inside TLS.
	Inspection bool
	// Vouches reports whether the inspection CA may vouch for a host; nil where
	// there is no CA to ask.
	Vouches func(host string) bool
	// Parents are the names of the [[upstream]] tables of gatehouse.toml.
	Parents []string
	// Doors are the listeners of gatehouse.toml.
	Doors []Door
	// ReadFile reads a file that the rules name; nil: from the disk.
	ReadFile func(path string) ([]byte, error)
	// LastSHA256 is the digest of the bytes last in force: where the file is
	// still the same, a failing [[test]] is a warning.
	LastSHA256 string
}

// Loaded is a rules file ready to be put in force.
type Loaded struct {
	Policy    *policy.Policy
	SHA256    string      // hex digest of the bytes
	Mode      policy.Mode // in force when it was loaded
	RuleCount int         // allows and denies, those of packs included
	Packs     []string
	Tags      []string // the service tags in use, each once
	// Publishes are the ways in, in the order of the file.
	Publishes []Publish
	// Unenforced are the inner clauses that cannot be checked.
	Unenforced []Unenforced
	// Inspectable are the hosts that are looked into where inspection is on,
	// in the order of the file.
	Inspectable []Inspectable
	// Problems are the warnings it was loaded with.
	Problems []Problem

	groups []policy.Group
}

// Load reads a rules file. The problems are everything that is wrong with it,
// in its order; Loaded is nil where one of them is an error.
func Load(name string, text []byte, env Env) (*Loaded, []Problem) {
	if env.Zone == nil {
		env.Zone = time.UTC
	}
	sum := sha256.Sum256(text)
	if env.ReadFile == nil {
		env.ReadFile = readLogins
	}
	c := &compiler{env: env, name: name, file: readFile(name, text), sha256: hex.EncodeToString(sum[:])}
	c.doc = c.file.doc
	loaded := c.compile()
	problems := c.doc.finish()
	if HasErrors(problems) || loaded == nil {
		return nil, problems
	}
	loaded.Problems = problems
	return loaded, problems
}

// compiler makes a policy of a file, step by step, and notes every problem it
// meets on the way.
type compiler struct {
	env    Env
	name   string // of the file: paths in it are taken from its folder
	file   *file
	doc    *document
	sha256 string

	groups map[string][]netip.Prefix
	// nameless: the name of some group cannot be read.
	nameless bool
	names    map[string]span // of rules
	entries  []*entry        // allows and denies in the order of the file
	spec     policy.Spec
	packs    []string
	// published are the [[publish]] tables.
	published []publishing
	tags      []string
	tests     []question
	allows    *hostIndex // the allows among the entries
	stating   *hostIndex // those that state a protocol of connections
	nevers    *hostIndex // those that are never looked into
}

func (c *compiler) compile() *Loaded {
	c.spec = policy.Spec{
		Permitted: slices.Clone(c.env.ClientsAllow), TreatAsPublic: c.env.TreatAsPublic,
		Inspection: c.env.Inspection, SHA256: c.sha256,
	}
	c.head()
	c.clients()
	c.rules()
	c.publishes()
	c.tests = c.readTests()
	c.compare()
	inspectable := c.inspectable()
	c.vouched(inspectable)
	if HasErrors(c.doc.problems) {
		c.warnEach()
		c.warnLookAlikes()
		return nil
	}
	if !c.doc.whole { // a part of the file is not the file, whatever became of the rest
		c.doc.reportFile(codeUnmade, "", "the file could not be read to its end")
		return nil
	}
	c.spec.Rules = make([]policy.Rule, len(c.entries))
	for i, e := range c.entries {
		c.spec.Rules[i] = *e.Rule
		e.Rule = &c.spec.Rules[i] // one of the two is enough
	}
	p, err := policy.Compile(c.spec)
	if err != nil {
		c.doc.reportFile(codeUnmade, "", "%v", err)
		return nil
	}
	l := &Loaded{
		Policy: p, SHA256: c.sha256, Mode: p.Mode(c.env.Now), RuleCount: len(c.entries),
		Packs: c.packs, Tags: c.tags, Unenforced: c.unenforced(),
		Publishes: published(c.published), Inspectable: inspectable, groups: c.spec.Groups,
	}
	c.runTests(p)
	c.warn(l)
	c.warnPublishes(p)
	return l
}
