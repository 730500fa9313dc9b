package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// powerShell reads a script of Windows PowerShell as far as quotation, brackets,
// names of variables and of commands go (about_Quoting_Rules, about_Variables): what
// breaks most often when somebody edits a script that nobody here can run. It knows no
// more of the language; .ci/script parses the script by a whole grammar.
type powerShell struct {
	text     string
	at       int
	vars     map[string]int // used, by name in lower case: the first line
	set      map[string]bool
	commands map[string]int
	defined  map[string]bool
	fault    string // the first
}

func readPowerShell(text string) *powerShell {
	p := &powerShell{text: text, vars: map[string]int{}, set: map[string]bool{}, commands: map[string]int{}, defined: map[string]bool{}}
	p.code(0)
	return p
}

func (p *powerShell) line() int { return 1 + strings.Count(p.text[:min(p.at, len(p.text))], "\n") }

func (p *powerShell) wrong(format string, args ...any) {
	if p.fault == "" {
		p.fault = fmt.Sprintf("line %d: ", p.line()) + fmt.Sprintf(format, args...)
	}
	p.at = len(p.text)
}

var (
	closing      = map[byte]byte{'(': ')', '{': '}', '[': ']'}
	variableName = regexp.MustCompile(`^\$(?:\{([^}]*)\}|((?:script:|env:)?\w+|[?$^]))`)
	commandName  = regexp.MustCompile(`^[A-Za-z]+-[A-Za-z]+`)
	assignment   = regexp.MustCompile(`^\s*(?:[-+*/]?=[^=]|in\b|,|\)|\r?\n\s*\))`) // or a parameter
	function     = regexp.MustCompile(`^function\s+([\w-]+)`)
)

// code reads up to a closing bracket (0: the end).
func (p *powerShell) code(until byte) {
	for p.at < len(p.text) {
		c, rest := p.text[p.at], p.text[p.at:]
		begins := p.at == 0 || strings.IndexByte(" \t\r\n({;|=,", p.text[p.at-1]) >= 0
		switch {
		case c == until && until != 0:
			p.at++
			return
		case c == '#' && begins:
			p.at += strings.IndexByte(rest+"\n", '\n')
		case c == '\'':
			p.single()
		case c == '"':
			p.double()
		case closing[c] != 0:
			p.at++
			p.code(closing[c])
		case strings.IndexByte(")}]", c) >= 0:
			p.wrong("%q closes nothing", c)
		case c == '$' && variableName.MatchString(rest):
			p.variable(true)
		case begins && function.MatchString(rest):
			m := function.FindStringSubmatch(rest)
			p.defined[strings.ToLower(m[1])] = true
			p.at += len(m[0])
		case begins && commandName.MatchString(rest):
			name := strings.ToLower(commandName.FindString(rest))
			p.commands[name] = p.line()
			p.at += len(name)
		case c == '`':
			p.at += 2
		default:
			p.at++
		}
	}
	if until != 0 {
		p.wrong("%q is missing", until)
	}
}

// single reads a string in which nothing is expanded.
func (p *powerShell) single() {
	end := strings.IndexAny(p.text[p.at+1:], "'\n")
	if end < 0 || p.text[p.at+1+end] == '\n' {
		p.wrong("a string does not end on its line")
		return
	}
	p.at += end + 2 // a doubled quotation mark begins the rest of the string
}

// double reads a string in which variables and $() are expanded.
func (p *powerShell) double() {
	for p.at++; p.at < len(p.text); {
		switch c, rest := p.text[p.at], p.text[p.at:]; {
		case c == '"':
			p.at++
			return
		case c == '`':
			p.at += 2
		case c == '\n':
			p.wrong("a string does not end on its line")
		case strings.HasPrefix(rest, "$("):
			p.at += 2
			p.code(')')
		case c == '$' && variableName.MatchString(rest):
			p.variable(false)
		default:
			p.at++
		}
	}
	p.wrong("a string does not end")
}

func (p *powerShell) variable(mayBeSet bool) {
	m := variableName.FindStringSubmatch(p.text[p.at:])
	name := strings.TrimPrefix(strings.ToLower(m[1]+m[2]), "script:")
	typed := strings.HasSuffix(strings.TrimRight(p.text[:p.at], " "), "]") || strings.HasSuffix(p.text[:p.at], "(") || strings.HasSuffix(p.text[:p.at], ", ")
	after := p.text[p.at+len(m[0]):]
	if mayBeSet && (regexp.MustCompile(`^\s*[-+]?=[^=]`).MatchString(after) || typed && assignment.MatchString(after)) {
		p.set[name] = true
	}
	if _, known := p.vars[name]; !known {
		p.vars[name] = p.line()
	}
	p.at += len(m[0])
}

// cmdlets are those of Windows PowerShell 5.1 that the script may use.
var cmdlets = []string{"foreach-object", "get-itemproperty", "new-object", "select-string", "set-strictmode", "sort-object", "where-object", "write-output"}

// faults are all that is wrong.
func (p *powerShell) faults() (all []string) {
	if p.fault != "" {
		return []string{p.fault}
	}
	automatic := []string{"_", "null", "true", "false", "matches", "erroractionpreference"}
	for name, line := range p.vars {
		if !p.set[name] && !slices.Contains(automatic, name) && !strings.HasPrefix(name, "env:") {
			all = append(all, fmt.Sprintf("line %d: $%s is never set, which Set-StrictMode makes an error", line, name))
		}
	}
	for name, line := range p.commands {
		if !p.defined[name] && !slices.Contains(cmdlets, name) {
			all = append(all, fmt.Sprintf("line %d: there is no command %s", line, name))
		}
	}
	slices.Sort(all)
	return all
}

func TestTheScriptIsWholeAndNamesNothingThatIsNotThere(t *testing.T) {
	glob, err := policy.ParseGlob("/it's $(here) `\"")
	require.NoError(t, err)
	text := scriptFor(t, "", rule(t, "site", "www.example.org", 80, func(r *policy.Rule) { r.Paths = []policy.Glob{glob} }), rule(t, "bus", "bus.example.org", 9352, nil))
	p := readPowerShell(text)
	require.Empty(t, p.faults())
	require.Greater(t, len(p.vars), 30)
	require.Greater(t, len(p.commands), 12)

	for edit, says := range map[[2]string]string{
		{"} finally { $udp.Close() }", "finally { $udp.Close() }"}:                  "is missing",
		{"} finally { $udp.Close() }", "} } finally { $udp.Close() }"}:              "closes nothing",
		{"'the answer is no DNS message'", "'the answer is no DNS message"}:         "does not end on its line",
		{`"no answer within $Seconds seconds`, `no answer within $Seconds seconds`}: "does not end on its line",
		{`$($seen.Issuer)`, `$($seen.Issuer`}:                                       "line ",
		{"Connect-Tcp $Gate", "Connect-Tpc $Gate"}:                                  "there is no command connect-tpc",
		{"$question.ToArray()", "$qeustion.ToArray()"}:                              "$qeustion is never set",
		{"ForEach-Object { $_.Host }", "Invoke-Expression { $_.Host }"}:             "there is no command invoke-expression",
	} {
		require.Contains(t, text, edit[0])
		faults := readPowerShell(strings.Replace(text, edit[0], edit[1], 1)).faults()
		require.Contains(t, strings.Join(faults, "\n"), says, "%q for %q", edit[1], edit[0])
	}
}
