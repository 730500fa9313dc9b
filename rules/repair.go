package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf16"

	"gatehouse/rules/format"
)

// Format gives a file in its normal form: only white space changes. With repair
// it also writes what is safe to write without asking: UTF-8 without byte order
// mark, plain quotes, what slips of the pen obviously meant, lists in brackets,
// hosts without "https://", dates without quotes, the keys of a table in the
// order of the language. A file that may be loaded says the same afterwards.
//
// The text is nil where the file is not TOML and cannot be repaired; the
// problems say why.
func Format(name string, text []byte, repair bool) ([]byte, []Problem) {
	bom := ""
	if repair {
		text = asUTF8(text)
	} else if rest, marked := strings.CutPrefix(string(text), byteOrderMark); marked {
		bom, text = byteOrderMark, []byte(rest)
	}
	d := parse(name, text)
	if !d.whole || !repair && d.written != nil {
		return nil, d.finish()
	}
	if repair {
		d = parse(name, []byte(apply(d.text, d.improvements())))
		return []byte(format.Format(format.Sort(d.text, keyOrder))), nil
	}
	return []byte(bom + format.Format(d.text)), nil
}

const byteOrderMark = "\xef\xbb\xbf"

// asUTF8 is text without byte order mark, and in UTF-8 where its mark says that
// it is UTF-16 (what Notepad calls "Unicode").
func asUTF8(raw []byte) []byte {
	little, big := strings.HasPrefix(string(raw), "\xff\xfe"), strings.HasPrefix(string(raw), "\xfe\xff")
	if !little && !big || len(raw)%2 != 0 {
		return []byte(strings.TrimPrefix(string(raw), byteOrderMark))
	}
	units := make([]uint16, 0, len(raw)/2)
	for i := 2; i+1 < len(raw); i += 2 {
		low, high := raw[i], raw[i+1]
		if big {
			low, high = high, low
		}
		units = append(units, uint16(low)|uint16(high)<<8)
	}
	return []byte(string(utf16.Decode(units)))
}

// apply makes edits that do not overlap.
func apply(text string, edits []edit) string {
	slices.SortFunc(edits, func(a, b edit) int { return a.at.start - b.at.start })
	var b strings.Builder
	last := 0
	for _, e := range edits {
		b.WriteString(text[last:e.at.start])
		b.WriteString(e.text)
		last = e.at.end
	}
	b.WriteString(text[last:])
	return b.String()
}

// keyOrder is the order of a table's keys: that of the language.
func keyOrder(table string) []string {
	for name, t := range map[string]reflect.Type{
		"": reflect.TypeFor[file](), "client": reflect.TypeFor[clientTable](), "pack": reflect.TypeFor[packTable](),
		"allow": reflect.TypeFor[ruleTable](), "deny": reflect.TypeFor[ruleTable](),
		"publish": reflect.TypeFor[publishTable](), "test": reflect.TypeFor[testTable](),
	} {
		if name == table {
			return keysOf(t)
		}
	}
	return nil
}

// quote writes a text as TOML does.
func quote(s string) string {
	if strings.ContainsAny(s, "\\\"") && !strings.ContainsAny(s, "'\n\r") {
		return "'" + s + "'"
	}
	return fmt.Sprintf("%q", s)
}
