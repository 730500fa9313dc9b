package appliance

import (
	"bytes"
	"regexp"
	"strings"
	"sync"

	"gatehouse/rules"
)

// mask stands in the place of a secret of gatehouse.toml: the password of a parent
// proxy (or the whole of a login that is one word), and where on its host the
// webhook is.
const mask = "***"

// whenAsked compiles an expression when it is first asked for: all of them together are
// a fiftieth of what a gate takes to start.
func whenAsked(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// token is what of TOML can hold a secret, as a lexer finds it: a comment, or a string
// with webhook where it is the value of that key.
var token = whenAsked(`(?:["']?webhook["']?[ \t]*=[ \t]*)?(?:"""(?s:\\.|[^\\])*?"""|'''(?s:.*?)'''|"(?:\\.|[^"\\\n])*"|'[^'\n]*')|#[^\n]*`)

var (
	inWebhook = whenAsked(`(?s)^(["']?webhook["']?[ \t]*=[ \t]*["']+(?:https?://)?[^/?#\\"']*)[/?#\\].*?(["']+)$`)
	inLogin   = whenAsked(`(?s)^(.*?://)([^:@]*:)?.*(@[^@]*)$`)
	inComment = whenAsked(`^(.*?)(?:://.*(?:@|hook)|hook.*:/).*$`)
)

func maskToken(t []byte) []byte {
	switch {
	case t[0] == '#':
		return inComment().ReplaceAll(t, []byte("${1}"+mask))
	case inWebhook().Match(t):
		return inWebhook().ReplaceAll(t, []byte("${1}/"+mask+"${2}"))
	}
	return inLogin().ReplaceAll(t, []byte("${1}${2}"+mask+"${3}"))
}

// withoutPasswords is a configuration with masks; what is no TOML may keep secrets.
func withoutPasswords(text []byte) []byte { return token().ReplaceAllFunc(text, maskToken) }

// withPasswords puts the secrets of the present configuration in the place of masks,
// where it has the same user at the same host. left counts those it has not.
func withPasswords(text, present []byte) (whole []byte, left int) {
	known := map[string][][]byte{} // several of one look: in the order of the file
	for _, t := range token().FindAll(present, -1) {
		m := string(maskToken(t))
		known[m] = append(known[m], t)
	}
	whole = token().ReplaceAllFunc(text, func(t []byte) []byte {
		if !bytes.Contains(t, []byte(mask)) || !bytes.Equal(t, maskToken(t)) {
			return t
		}
		found := known[string(t)]
		if len(found) == 0 {
			if t[0] != '#' {
				left++
			}
			return t
		}
		known[string(t)] = found[min(1, len(found)-1):]
		return found[0]
	})
	return whole, left
}

// What is told of a faulty gatehouse.toml is masked by the line, with no trust in its
// form or in the names of its keys: they may be what is wrong.
var (
	oneLogin      = whenAsked(`^([\w. \t-]*=[ \t]*["']\w+://)([\w.-]+:)?[^"'\\/?#]*@([\w.-]+(?::\d+)?(?:[/?#][^"'\\@]*)?["'])[ \t]*$`)
	lineWithLogin = whenAsked(`^([\w. \t-]*=[ \t]*)?.*(?::.*@|@.*:).*$`)
	lineWithHook  = whenAsked(`(\w*(?:ok|oo)\w*["']?[ \t]*=[ \t]*).*$`)
	pathOfURL     = whenAsked(`(://[^/?#\s"'\\]*|:/[^/?#\s"'\\]+)[/?#\\].*`)
	userinfo      = whenAsked(`(://)[^\s"]*@`)
)

func maskLine(line string) string {
	if oneLogin().MatchString(line) {
		line = oneLogin().ReplaceAllString(line, "${1}${2}"+mask+"@${3}")
	} else {
		line = lineWithLogin().ReplaceAllString(line, "${1}"+mask)
	}
	line = lineWithHook().ReplaceAllString(line, "${1}"+mask)
	return pathOfURL().ReplaceAllString(line, "${1}/"+mask)
}

// masked puts masks in what is told of a file.
func masked(problems []rules.Problem) []rules.Problem {
	for i := range problems {
		p := &problems[i]
		p.Message = userinfo().ReplaceAllString(p.Message, "${1}"+mask+"@")
		for _, text := range []*string{&p.Fix, &p.Source} {
			lines := strings.Split(*text, "\n")
			for i, line := range lines {
				lines[i] = maskLine(line)
			}
			*text = strings.Join(lines, "\n")
		}
	}
	return problems
}
