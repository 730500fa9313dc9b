package rules

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"gatehouse/rules/scan"
)

// reader is implemented by types that read their own node.
type reader interface {
	read(n *scan.Node, d *document)
}

var (
	readerType      = reflect.TypeFor[reader]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bind fills v from a node and reports every key and value that does not fit,
// each at its own place. top are the keys of the file's outermost table.
func (d *document) bind(n *scan.Node, v reflect.Value, top []string) {
	switch {
	case v.CanAddr() && v.Addr().Type().Implements(readerType):
		v.Addr().Interface().(reader).read(n, d)
	case v.CanAddr() && v.Addr().Type().Implements(unmarshalerType):
		d.bindText(n, v.Addr().Interface().(encoding.TextUnmarshaler))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.bind(n, v.Elem(), top)
	case v.Kind() == reflect.Struct:
		d.bindTable(n, v, top)
	case v.Kind() == reflect.Slice:
		d.bindList(n, v, top)
	default:
		d.bindScalar(n, v)
	}
}

func (d *document) bindTable(n *scan.Node, v reflect.Value, top []string) {
	if n.Kind != scan.Table {
		d.wrongType(n, "a table")
		return
	}
	form := d.formOf(v.Type())
	for _, f := range n.Fields {
		if i, ok := form.fields[f.Name]; ok {
			d.bind(f.Value, v.Field(i), top)
		}
	}
	for _, f := range n.Fields {
		if _, ok := form.fields[f.Name]; ok {
			continue
		}
		if near := d.unknown(n, f, form.known, top); near != "" {
			d.bindMeant(n, f, near, v.Field(form.fields[near]), top)
		}
	}
	if t, ok := v.Addr().Interface().(interface{ placed(*scan.Node) }); ok {
		t.placed(n)
	}
}

// form is what a struct takes: its keys, in order, and the field of each.
type form struct {
	known  []string
	fields map[string]int
}

// formOf is the form of a struct, made once for a document: a file may have a
// hundred thousand tables of one kind.
func (d *document) formOf(t reflect.Type) *form {
	if f, ok := d.forms[t]; ok {
		return f
	}
	f := &form{fields: map[string]int{}}
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("toml"); key != "" && key != "-" {
			f.fields[key] = i
			f.known = append(f.known, key)
		}
	}
	if d.forms == nil {
		d.forms = map[reflect.Type]*form{}
	}
	d.forms[t] = f
	return f
}

// bindMeant reads a misspelt key as the one it was probably meant to be, so that
// what is wrong with its value is told in the same run, and nothing that refers
// to it seems to refer to nothing.
func (d *document) bindMeant(n *scan.Node, f scan.Field, near string, v reflect.Value, top []string) {
	isTables := v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct
	_, written := n.Field(near)
	if isTables != f.Value.Headed || written && !isTables {
		return
	}
	meant := reflect.New(v.Type()).Elem()
	d.bind(f.Value, meant, top)
	if written { // beside tables whose name is right
		meant = reflect.AppendSlice(v, meant)
	}
	v.Set(meant)
}

// unknown reports a key or table that the language does not have, and gives the
// one that was probably meant, if there is one.
func (d *document) unknown(n *scan.Node, f scan.Field, known, top []string) string {
	at := keySpan(f)
	code, what := codeUnknownKey, "key"
	if f.Value.Headed {
		code, what, at = codeUnknownTable, "table", spanOf(f.Value)
		if f.Value.Kind == scan.Array {
			at = spanOf(f.Value.Items[0])
		}
	}
	switch near, ok := meantKey(f.Name, known); {
	case ok:
		d.meant[meaning{n, near}] = true
		if !f.Value.Headed && f.Value.Kind != scan.Table && slices.Contains(listTables, near) {
			d.report(code, at, "[["+near+"]]", "%q is no key; what it is meant to list stands in tables [[%s]]", f.Name, near)
			return near
		}
		d.report(code, at, d.replaced(keySpan(f), near), "unknown %s %q; did you mean %q?", what, f.Name, near)
		return near
	case slices.Contains(top, f.Name):
		line := d.lineOf(int(f.Start))
		d.report(codeMisplaced, at, "move it to the top, above the first [ line:\n"+strings.TrimSpace(d.line(line)),
			"%q belongs to the whole file, but stands below a table and so is read as part of it; move it to the top", f.Name)
	case len(d.homes[f.Name]) > 0:
		d.report(code, at, "move it there", "%q is a key of %s, and none of this table", f.Name, strings.Join(d.homes[f.Name], ", "))
	default:
		d.report(code, at, "remove it", "unknown %s %q; here these are known: %s", what, f.Name, strings.Join(known, ", "))
	}
	return ""
}

func (d *document) bindList(n *scan.Node, v reflect.Value, top []string) {
	items := n.Items
	if n.Kind != scan.Array {
		items = []*scan.Node{n}
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.bind(item, v.Index(i), top)
	}
}

func (d *document) bindText(n *scan.Node, u encoding.TextUnmarshaler) {
	s, ok := n.Data.(string)
	if !ok {
		d.wrongType(n, "text in quotes")
		return
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		d.report(codeValue, spanOf(n), "", "%v", err)
	}
}

func (d *document) bindScalar(n *scan.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := n.Data.(string); ok {
			v.SetString(s)
			return
		}
		d.wrongType(n, "text in quotes")
	case reflect.Bool:
		if b, ok := n.Data.(bool); ok {
			v.SetBool(b)
			return
		}
		d.wrongType(n, "true or false")
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16:
		if i, ok := n.Data.(int64); ok && !v.OverflowInt(i) {
			v.SetInt(i)
			return
		}
		d.wrongType(n, "a whole number")
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		if i, ok := n.Data.(int64); ok && i >= 0 && !v.OverflowUint(uint64(i)) {
			v.SetUint(uint64(i))
			return
		}
		d.wrongType(n, fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-v.Type().Bits())))
	default:
		panic(fmt.Sprintf("rules: a field of kind %s cannot be read from TOML", v.Kind()))
	}
}

// wrongType reports a value that is not what its key takes.
func (d *document) wrongType(n *scan.Node, want string) {
	fix := ""
	if s, ok := n.Data.(string); ok && (want == "true or false" || strings.HasPrefix(want, "a whole number")) {
		fix = d.replaced(spanOf(n), s)
	} else if _, isBool := n.Data.(bool); n.Kind == scan.Leaf && !isBool && want == "text in quotes" {
		fix = d.replaced(spanOf(n), fmt.Sprintf("%q", strings.TrimSpace(d.text[n.Start:n.End])))
	}
	d.report(codeType, spanOf(n), fix, "this is %s; what belongs here is %s", shape(n), want)
}

// shape names what a node is.
func shape(n *scan.Node) string {
	switch n.Kind {
	case scan.Table:
		return "a table"
	case scan.Array:
		return "a list"
	}
	switch v := n.Data.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int64:
		return "a number"
	case float64:
		if v == math.Trunc(v) {
			return "a number with a decimal point"
		}
		return "a fraction"
	}
	return "a date or time"
}
