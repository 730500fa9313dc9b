package rules

import (
	"reflect"
	"strconv"
	"strings"

	"gatehouse/rules/scan"
)

// Decode reads a TOML file into a struct with `toml:"…"` tags. Every key must be
// known, every value of the right type; a bare value stands for a list of one.
// Fields may be structs, slices, pointers, strings, bools, integers and types
// with UnmarshalText; keys that are absent leave their fields as they were.
//
// Positions tells where each value stands, for the checks that only the caller
// can make. The problems are those of the file's form, in its order.
func Decode(name string, text []byte, into any) (Positions, []Problem) {
	d := parse(name, text)
	v := reflect.ValueOf(into).Elem()
	d.homes = homesOf(v.Type())
	d.bind(d.root, v, keysOf(v.Type()))
	return Positions{d}, d.finish()
}

// keysOf lists the keys of a table's struct.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("toml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// homesOf lists, for each key below the outermost table, the tables that have
// it, in the order of the language.
func homesOf(t reflect.Type) map[string][]string {
	homes := map[string][]string{}
	tablesOf(t, "", func(header string, table reflect.Type) {
		for _, key := range keysOf(table) {
			homes[key] = append(homes[key], header)
		}
	})
	return homes
}

// tablesOf calls f with every table below a file's struct and its header.
func tablesOf(t reflect.Type, path string, f func(header string, table reflect.Type)) {
	for i := range t.NumField() {
		key, field := t.Field(i).Tag.Get("toml"), t.Field(i).Type
		opening, closing := "[", "]"
		if field.Kind() == reflect.Slice {
			field, opening, closing = field.Elem(), "[[", "]]"
		}
		if key == "" || key == "-" || field.Kind() != reflect.Struct || len(keysOf(field)) == 0 {
			continue
		}
		f(opening+path+key+closing, field)
		tablesOf(field, path+key+".", f)
	}
}

// Positions knows where the values of a decoded file stand.
type Positions struct{ doc *document }

// Problem makes a problem of the value at a path like "upstream[1].url". Where
// the file does not hold the path, it is placed at the nearest table above.
func (p Positions) Problem(path string, level Level, code, message, fix, why string) Problem {
	problem := Problem{File: p.doc.name, Level: level, Code: code, Message: message, Fix: fix, Why: why}
	at, ok := p.find(path)
	if !ok {
		return problem
	}
	problem.Line, problem.Column = p.doc.place(at.start)
	problem.Source, problem.Width = p.doc.shown(problem.Line), p.doc.width(at)
	return problem
}

// Has reports whether the file holds a value at path.
func (p Positions) Has(path string) bool {
	n := p.doc.root
	for _, step := range steps(path) {
		if n = below(n, step); n == nil {
			return false
		}
	}
	return true
}

func (p Positions) find(path string) (at span, ok bool) {
	n := p.doc.root
	for _, step := range steps(path) {
		if n = below(n, step); n == nil {
			return at, ok
		}
		at, ok = spanOf(n), true
	}
	return at, ok
}

// steps cuts "a.b[2].c" into "a", "b", "2", "c".
func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

func below(n *scan.Node, step string) *scan.Node {
	if i, err := strconv.Atoi(step); err == nil {
		switch {
		case n.Kind == scan.Array && i < len(n.Items):
			return n.Items[i]
		case n.Kind != scan.Array && i == 0:
			return n // a bare value for a list of one
		}
		return nil
	}
	if f, ok := n.Field(step); ok {
		return f.Value
	}
	return nil
}
