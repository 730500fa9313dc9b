package rules

import (
	"reflect"
	"slices"

	"gatehouse/rules/scan"
)

// file is a rules file as it is written, each value with its place.
type file struct {
	doc *document

	Version      *scalar        `toml:"version"`
	Mode         text           `toml:"mode"`
	MonitorUntil *scalar        `toml:"monitor_until"`
	Clients      []clientTable  `toml:"client"`
	Packs        []packTable    `toml:"pack"`
	Allows       []ruleTable    `toml:"allow"`
	Denies       []ruleTable    `toml:"deny"`
	Publishes    []publishTable `toml:"publish"`
	Tests        []testTable    `toml:"test"`
}

// table is where a table stands.
type table struct{ node *scan.Node }

func (t *table) placed(n *scan.Node) { t.node = n }

func (t *table) at() span { return spanOf(t.node) }

type clientTable struct {
	table
	Name   text `toml:"name"`
	From   list `toml:"from"`
	Logins text `toml:"logins"`
}

type packTable struct {
	table
	Name    text `toml:"name"`
	Clients list `toml:"clients"`
	Without list `toml:"without"`
}

// ruleTable is an [[allow]] or a [[deny]].
type ruleTable struct {
	table
	Name      text    `toml:"name"`
	Clients   list    `toml:"clients"`
	Hosts     list    `toml:"hosts"`
	Ports     *scalar `toml:"ports"`
	Protocol  text    `toml:"protocol"`
	Methods   list    `toml:"methods"`
	Paths     list    `toml:"paths"`
	Types     *scalar `toml:"types"`
	Uploads   list    `toml:"uploads"`
	Upgrades  list    `toml:"upgrades"`
	Aliases   list    `toml:"aliases"`
	Addresses list    `toml:"addresses"`
	Inspect   text    `toml:"inspect"`
	Via       text    `toml:"via"`
	Parent    text    `toml:"parent"`
	Owner     text    `toml:"owner"`
	Because   text    `toml:"because"`
	Until     *scalar `toml:"until"`
}

type publishTable struct {
	table
	Name    text    `toml:"name"`
	Clients list    `toml:"clients"`
	Listen  list    `toml:"listen"`
	To      text    `toml:"to"`
	Methods list    `toml:"methods"`
	Paths   list    `toml:"paths"`
	TLS     *scalar `toml:"tls"`
	MaxBody *scalar `toml:"max_body"`
}

type testTable struct {
	table
	Client text    `toml:"client"`
	On     *scalar `toml:"on"`
	Allow  list    `toml:"allow"`
	Deny   list    `toml:"deny"`
}

// text is one text and its place; node is nil where the key is absent.
type text struct {
	value string
	node  *scan.Node
}

func (t *text) read(n *scan.Node, d *document) {
	s, ok := n.Data.(string)
	if !ok {
		d.wrongType(n, "text in quotes")
		return
	}
	t.value, t.node = s, n
}

func (t text) stated() bool { return t.node != nil }

func (t text) at() span { return spanOf(t.node) }

// list is a list of texts; node is nil where the key is absent. Items of a
// wrong type are reported and left out.
type list struct {
	items []text
	node  *scan.Node
}

func (l *list) read(n *scan.Node, d *document) {
	l.node = n
	if n.Kind != scan.Array {
		l.readItem(n, d)
		return
	}
	for _, item := range n.Items {
		l.readItem(item, d)
	}
}

func (l *list) readItem(n *scan.Node, d *document) {
	var t text
	if t.read(n, d); t.stated() {
		l.items = append(l.items, t)
	}
}

func (l list) stated() bool { return l.node != nil }

func (l list) at() span { return spanOf(l.node) }

// empty reports whether the list was written without items.
func (l list) empty() bool {
	return l.stated() && l.node.Kind == scan.Array && len(l.node.Items) == 0
}

// scalar is a value whose clause reads it itself: a date, a port, a table.
type scalar struct{ *scan.Node }

func (s *scalar) read(n *scan.Node, _ *document) { s.Node = n }

func (s *scalar) at() span { return spanOf(s.Node) }

// elements are the items of a list, or the bare value as a list of one.
func (s *scalar) elements() []*scan.Node {
	if s.Kind == scan.Array {
		return s.Items
	}
	return []*scan.Node{s.Node}
}

// readFile reads the form of a rules file; what its values mean is looked at
// later. What stands where a table belongs and is none has been reported, and is
// left out.
func readFile(name string, raw []byte) *file {
	f := &file{doc: parse(name, raw)}
	v := reflect.ValueOf(f).Elem()
	f.doc.homes = homesOf(v.Type())
	f.doc.bind(f.doc.root, v, keysOf(v.Type()))
	f.Clients = slices.DeleteFunc(f.Clients, func(t clientTable) bool { return t.node == nil })
	f.Packs = slices.DeleteFunc(f.Packs, func(t packTable) bool { return t.node == nil })
	f.Allows = slices.DeleteFunc(f.Allows, func(t ruleTable) bool { return t.node == nil })
	f.Denies = slices.DeleteFunc(f.Denies, func(t ruleTable) bool { return t.node == nil })
	f.Publishes = slices.DeleteFunc(f.Publishes, func(t publishTable) bool { return t.node == nil })
	f.Tests = slices.DeleteFunc(f.Tests, func(t testTable) bool { return t.node == nil })
	return f
}
