package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// slip is what is wrong with a broken line, in words, and the line as it was
// probably meant. start and end are offsets in the line.
type slip struct {
	code       *Code // nil: GH001
	start, end int
	fix        string
	message    string
	// safe says that the fix is what the line says already: fmt --fix may write
	// it without asking.
	safe bool
}

// asWritten marks a slip whose fix changes the form of a line and not its sense.
func asWritten(s slip, ok bool) (slip, bool) {
	s.safe = s.fix != ""
	return s, ok
}

func (t token) slip(fix, format string, args ...any) (slip, bool) {
	return slip{start: t.start, end: t.end, fix: fix, message: fmt.Sprintf(format, args...)}, true
}

// slips recognise the common mistakes by how the line looks; the first that
// does so is told.
var slips = []func(*brokenLine) (slip, bool){
	(*brokenLine).smart, (*brokenLine).control, (*brokenLine).blank, (*brokenLine).date, (*brokenLine).comment, (*brokenLine).header,
	(*brokenLine).escape, (*brokenLine).open, (*brokenLine).key, (*brokenLine).noValue, (*brokenLine).colon,
	(*brokenLine).ending, (*brokenLine).brackets, (*brokenLine).inner, (*brokenLine).bare, (*brokenLine).beside,
}

func (b *brokenLine) smart() (slip, bool) {
	i := slices.IndexFunc(b.tokens, func(t token) bool { return t.kind == tokenSmart })
	if i < 0 {
		return slip{}, false
	}
	s, ok := b.tokens[i].slip(smartQuotes.Replace(b.text), "these are typographic quotes, as word processors make them; the file needs plain ones")
	s.code = codeQuotes
	return asWritten(s, ok)
}

// blank finds what looks like a space, or like nothing, and is neither, in text that
// was pasted from a web page or a word processor. In quotes it is told elsewhere.
func (b *brokenLine) blank() (slip, bool) {
	odd := func(r rune) bool { return r > unicode.MaxASCII && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)) }
	var first *token
	fix := []byte(b.text)
	for _, t := range slices.Backward(b.tokens) {
		i := strings.IndexFunc(t.text, odd)
		if t.kind != tokenWord || i < 0 {
			continue
		}
		end := t.start + i + utf8.RuneLen([]rune(t.text[i:])[0])
		first = &token{start: t.start + i, end: end}
		plain := strings.Map(func(r rune) rune {
			switch {
			case !odd(r):
				return r
			case unicode.IsSpace(r):
				return ' '
			}
			return -1
		}, t.text)
		fix = slices.Replace(fix, t.start, t.end, []byte(plain)...)
	}
	if first == nil {
		return slip{}, false
	}
	return asWritten(first.slip(string(fix), "here stands a character that looks like a space or like nothing, as web pages and word processors make it"))
}

// control finds a character that no key of the keyboard makes, in text that was
// pasted.
func (b *brokenLine) control() (slip, bool) {
	i := strings.IndexFunc(b.text, func(r rune) bool { return r != '\t' && unicode.IsControl(r) })
	if i < 0 {
		return slip{}, false
	}
	fix := strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, b.text)
	return slip{start: i, end: i + 1, fix: fix, message: "an invisible control character stands here; it came with text that was pasted"}, true
}

// stopToken is the token at which the decoder stopped, or the last one.
func (b *brokenLine) stopToken() token {
	for _, t := range b.tokens {
		if t.end > b.stop || t.start >= b.stop {
			return t
		}
	}
	if n := len(b.tokens); n > 0 {
		return b.tokens[n-1]
	}
	return token{start: b.stop, end: b.stop}
}

var foreignComment = regexp.MustCompile(`^\s*(//+|;+|--+|/\*+|<!--|::|(?i:rem)\s)`)

func (b *brokenLine) comment() (slip, bool) {
	m := foreignComment.FindStringSubmatchIndex(b.text)
	if m == nil {
		return slip{}, false
	}
	return asWritten(slip{start: m[2], end: m[3], fix: "# " + strings.TrimSpace(b.text[m[3]:]), message: "a comment begins with #"}, true)
}

// listTables are the tables that there can be many of.
var listTables = []string{"client", "pack", "allow", "deny", "publish", "test", "upstream", "dns.host", "dns.forward"}

var anyHeader = regexp.MustCompile(`^\s*(\[\s*\[?)\s*([\w.-]+)\s*(\]?\s*\]?)(\s*#.*)?(.*)$`)

// header finds brackets that are missing, and what stands behind a header.
func (b *brokenLine) header() (slip, bool) {
	m := anyHeader.FindStringSubmatch(b.text)
	if m == nil {
		return slip{}, false
	}
	opening, closing := strings.Count(m[1], "["), strings.Count(m[3], "]")
	if m[4] = strings.TrimSpace(m[4]); m[4] != "" {
		m[4] = " " + m[4]
	}
	want := "[" + m[2] + "]"
	if opening == 2 || closing == 2 || slices.Contains(listTables, m[2]) {
		want = "[" + want + "]"
	}
	rest := strings.TrimSpace(m[5])
	end := b.codeEnd()
	switch {
	case rest != "" && closing > 0:
		start := strings.LastIndex(b.text, m[5])
		start += len(m[5]) - len(strings.TrimLeft(m[5], " \t"))
		return slip{start: start, end: end, fix: want + "\n" + rest, message: "nothing can stand behind a header; this belongs on a line of its own"}, true
	case rest != "":
		return slip{}, false
	case opening > closing:
		return asWritten(slip{start: end, end: end, fix: want + m[4],
			message: fmt.Sprintf("the header of this table does not end: %s is written with %s at its end", want, want[len(want)-strings.Count(want, "]"):])}, true)
	}
	return asWritten(slip{start: len(b.text) - len(strings.TrimLeft(b.text, " \t")), end: end, fix: want + m[4],
		message: fmt.Sprintf("the header of this table is written %s", want)}, true)
}

// open finds a text whose quotes are not closed, or not opened.
func (b *brokenLine) open() (slip, bool) {
	i := len(b.tokens) - 1
	if i < 0 || b.tokens[i].kind != tokenOpen {
		return slip{}, false
	}
	t, mark := b.tokens[i], b.tokens[i].text[:1]
	if i > 0 && strings.Trim(t.text, mark+" \t,]}") == "" && b.tokens[i-1].kind == tokenWord {
		word := b.tokens[i-1]
		return word.slip(b.with(word.start, word.start, mark), "this text ends with a quote and does not begin with one")
	}
	text, comment, _ := strings.Cut(t.text, " #")
	text = strings.TrimRight(text, " \t")
	end := len(text)
	if strings.Contains(b.text[:t.start], "[") {
		end = len(strings.TrimRight(text, "], \t"))
	} else if strings.Contains(b.text[:t.start], "{") {
		end = len(strings.TrimRight(text, "} \t"))
	}
	fix := b.text[:t.start] + text[:end] + mark + text[end:]
	if comment != "" {
		fix += " #" + comment
	}
	if end < 2 {
		fix = ""
	}
	return t.slip(fix, "this text has no quote at its end")
}

// escape finds a backslash that means nothing, as in a Windows path.
func (b *brokenLine) escape() (slip, bool) {
	said := strings.ToLower(b.said)
	if !strings.Contains(said, "escape") && !strings.Contains(said, "hexadecimal digits") {
		return slip{}, false
	}
	for _, t := range b.tokens {
		i := strings.IndexByte(t.text, '\\')
		if t.kind != tokenText && t.kind != tokenOpen || t.text[0] != '"' || i < 0 || b.stop > t.end {
			continue
		}
		inner := strings.TrimSuffix(t.text[1:], `"`)
		if strings.Contains(inner, "'") {
			inner = `"` + strings.ReplaceAll(inner, `\`, `\\`) + `"`
		} else {
			inner = "'" + inner + "'"
		}
		return asWritten(t.slip(b.with(t.start, t.end, inner), "in double quotes a backslash is a sign of its own; in single quotes it is a backslash"))
	}
	return slip{}, false
}

// key finds what is wrong before the value: no "=", a colon, two words.
func (b *brokenLine) key() (slip, bool) {
	if len(b.tokens) == 0 || b.tokens[0].kind != tokenWord && b.tokens[0].text != "=" {
		return slip{}, false
	}
	first := b.tokens[0]
	name, value, colon := strings.Cut(first.text, ":")
	equals := slices.IndexFunc(b.tokens, func(t token) bool { return t.text == "=" })
	switch {
	case equals == 0:
		return first.slip("", "there is no key before the \"=\"")
	case equals == 1:
		return slip{}, false
	case colon && equals < 0:
		return asWritten(slip{start: first.start + len(name), end: first.start + len(name) + 1,
			fix: name + " = " + strings.TrimSpace(value+b.text[first.end:]), message: "between a key and its value stands \"=\""}, true)
	case len(b.tokens) > 1 && b.tokens[1].text == ":" && equals < 0:
		return asWritten(b.tokens[1].slip(b.with(b.tokens[1].start, b.tokens[1].end, "="), "between a key and its value stands \"=\""))
	case equals > 1 && !slices.ContainsFunc(b.tokens[:equals], func(t token) bool { return t.kind != tokenWord }):
		var words []string
		for _, t := range b.tokens[:equals] {
			words = append(words, t.text)
		}
		last := b.tokens[equals-1]
		return slip{start: first.start, end: last.end, fix: b.with(first.start, last.end, strings.Join(words, "_")), message: "a key is one word"}, true
	case len(b.tokens) == 1:
		return slip{start: first.end, end: first.end, message: fmt.Sprintf("behind the key %q there is neither \"=\" nor a value", first.text)}, true
	case equals < 0 && (b.tokens[1].kind == tokenText || b.tokens[1].kind == tokenWord || b.tokens[1].text == "[" || b.tokens[1].text == "{"):
		return asWritten(slip{start: first.end, end: b.tokens[1].start, fix: b.with(first.end, b.tokens[1].start, " = "),
			message: fmt.Sprintf("between the key %q and its value the \"=\" is missing", first.text)}, true)
	}
	return slip{}, false
}

func (b *brokenLine) noValue() (slip, bool) {
	key, value, ok := b.value()
	if !ok || len(value) > 0 {
		return slip{}, false
	}
	return slip{start: b.codeEnd(), end: b.codeEnd(), message: fmt.Sprintf("behind %s = there is no value", key.text)}, true
}

// colon finds a colon for an "=" in a table in braces.
func (b *brokenLine) colon() (slip, bool) {
	for i, t := range b.tokens {
		if i > 0 && t.kind == tokenWord && t.text[0] == ':' && b.tokens[i-1].kind != tokenMark {
			return asWritten(slip{start: t.start, end: t.start + 1, fix: b.with(t.start, t.start+1, " ="), message: "between a key and its value stands \"=\""}, true)
		}
	}
	return slip{}, false
}

// ending finds a semicolon or comma at the end of a line, as other languages
// have it.
func (b *brokenLine) ending() (slip, bool) {
	_, _, ok := b.value()
	end := b.codeEnd()
	if !ok || end == 0 || b.text[end-1] != ';' && b.text[end-1] != ',' {
		return slip{}, false
	}
	depth := 0
	for _, t := range b.tokens {
		depth += strings.Count("[{", t.text) - strings.Count("]}", t.text)
	}
	if depth != 0 {
		return slip{}, false
	}
	return asWritten(slip{start: end - 1, end: end, fix: b.with(end-1, end, ""), message: fmt.Sprintf("a line ends without %q", b.text[end-1:end])}, true)
}

// brackets finds a list in the brackets of another language.
func (b *brokenLine) brackets() (slip, bool) {
	_, value, ok := b.value()
	if !ok || len(value) == 0 {
		return slip{}, false
	}
	start, end := value[0].start, b.codeEnd()
	pair := b.text[start:start+1] + b.text[end-1:end]
	if end-start < 2 || pair != "{}" && pair != "()" || slices.ContainsFunc(value, func(t token) bool { return t.text == "=" }) {
		return slip{}, false
	}
	return asWritten(slip{start: start, end: end, fix: b.with(start, end, "["+b.text[start+1:end-1]+"]"), message: "a list stands in square brackets"}, true)
}

// inner finds a quote inside a text, which ends it before its time.
func (b *brokenLine) inner() (slip, bool) {
	for i, t := range b.tokens {
		if i == 0 || t.kind == tokenMark || b.tokens[i-1].kind != tokenText || b.tokens[i-1].end != t.start {
			continue
		}
		start, end := b.tokens[i-1].start, b.codeEnd()
		whole, fix := b.text[start+1:end-1], ""
		if b.tokens[len(b.tokens)-1].kind == tokenText && b.text[start] == '"' && !strings.ContainsAny(whole, "'[]{}") {
			fix = b.with(start, end, "'"+whole+"'")
		}
		return t.slip(fix, "the quote before this ended the text; a text with double quotes in it stands in single ones")
	}
	return slip{}, false
}

// bare finds words that need quotes.
func (b *brokenLine) bare() (slip, bool) {
	_, value, ok := b.value()
	if !ok {
		value = b.tokens
	}
	fixed, first := b.text, token{}
	for i := len(value) - 1; i >= 0; i-- {
		t := value[i]
		isKey := i+1 < len(value) && value[i+1].text == "="
		if t.kind != tokenWord || plainValue.MatchString(t.text) || isKey || i > 0 && ends(value[i-1]) {
			continue
		}
		first = t
		fixed = fixed[:t.start] + quoteWord(t.text) + fixed[t.end:]
	}
	if first.text == "" {
		return slip{}, false
	}
	switch _, isBool := boolWords[strings.ToLower(first.text)]; {
	case isBool:
		return asWritten(first.slip(fixed, "yes and no are written true and false, in small letters"))
	case leadingZero.MatchString(first.text):
		return first.slip(fixed, "a number does not begin with 0")
	case portRange.MatchString(first.text):
		return asWritten(first.slip(fixed, "a range of ports stands in quotes"))
	case addressLike(first.text):
		return asWritten(first.slip(fixed, "an address stands in quotes"))
	}
	return asWritten(first.slip(fixed, "text stands in quotes"))
}

var (
	plainValue  = regexp.MustCompile(`^(true|false|[+-]?(0|[1-9]\d*)(\.\d+)?|\d{4}-\d{2}-\d{2}([Tt]\S*)?|\d{2}:\d{2}\S*)$`)
	leadingZero = regexp.MustCompile(`^0\d+$`)
	portRange   = regexp.MustCompile(`^\d+-\d+$`)
	boolWords   = map[string]string{"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
)

func quoteWord(s string) string {
	if word, ok := boolWords[strings.ToLower(s)]; ok {
		return word
	}
	if leadingZero.MatchString(s) {
		return strings.TrimLeft(s, "0")
	}
	return `"` + strings.Trim(s, "`") + `"`
}

func addressLike(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}

// beside finds values that stand beside each other, without a list or without a
// comma.
func (b *brokenLine) beside() (slip, bool) {
	_, value, ok := b.value()
	if !ok {
		value = b.tokens // an item of a list of several lines
	}
	depth := 0
	for i, t := range value {
		switch t.text {
		case "[", "{":
			depth++
		case "]", "}":
			depth--
		}
		if i == 0 || depth < 0 {
			continue
		}
		before := value[i-1]
		switch {
		case ok && depth == 0 && before.text == "," || ok && depth == 0 && ends(before) && begins(t):
			return asWritten(t.slip(b.listed(value), "behind the value stands more; several values stand in brackets"))
		case depth > 0 && before.text == "," && t.text == ",":
			return asWritten(t.slip(b.with(t.start, t.end, ""), "there is a comma too many"))
		case (depth > 0 || !ok) && ends(before) && begins(t):
			return asWritten(t.slip(b.with(before.end, t.start, ", "), "between the items of a list the comma is missing"))
		}
	}
	return slip{}, false
}

// ends reports whether a value can end with the token, begins whether one can
// begin with it.
func ends(t token) bool { return t.kind != tokenMark || t.text == "]" || t.text == "}" }

func begins(t token) bool { return t.kind != tokenMark || t.text == "[" || t.text == "{" }

// listed is the line with its values as a list, empty where they are more than
// plain values.
func (b *brokenLine) listed(value []token) string {
	var items []string
	for _, t := range value {
		switch {
		case t.kind == tokenText || t.kind == tokenWord && plainValue.MatchString(t.text):
			items = append(items, t.text)
		case t.text != ",":
			return ""
		}
	}
	return b.with(value[0].start, value[len(value)-1].end, "["+strings.Join(items, ", ")+"]")
}
