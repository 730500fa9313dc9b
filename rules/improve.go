package rules

import (
	"slices"
	"strconv"
	"strings"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// improvements are the edits that say in the language's own form what the file
// says in another one that is read as well, or that can mean nothing else.
func (d *document) improvements() []edit {
	var all []edit
	for _, f := range d.root.Fields {
		if f.Name == "monitor_until" {
			all = append(all, improveDate(f.Value)...)
		}
		if keyOrder(f.Name) == nil || f.Value.Kind != scan.Array {
			continue
		}
		for _, table := range f.Value.Items {
			for _, key := range table.Fields {
				all = append(all, d.improveValue(table, key)...)
			}
		}
	}
	return all
}

// listKeys are the keys whose values are lists.
var listKeys = []string{"clients", "hosts", "from", "ports", "methods", "paths", "uploads", "upgrades", "aliases", "addresses", "without", "listen", "allow", "deny"}

func (d *document) improveValue(table *scan.Node, key scan.Field) []edit {
	v := key.Value
	if key.Name == "until" || key.Name == "on" {
		return improveDate(v)
	}
	if !slices.Contains(listKeys, key.Name) {
		return nil
	}
	items := []*scan.Node{v}
	if v.Kind == scan.Array {
		items = v.Items
	}
	var all []edit
	for _, item := range items {
		text, isText := item.Data.(string)
		better := d.text[item.Start:item.End]
		if item.Kind != scan.Leaf {
			return nil
		}
		if isText {
			better = betterItem(table, key.Name, text, better)
		}
		if v.Kind != scan.Array {
			better = "[" + better + "]"
		}
		if better != d.text[item.Start:item.End] {
			all = append(all, edit{spanOf(item), better})
		}
	}
	return all
}

// betterItem is an item of a list in its own form; as it was written where it
// has it already, or where nobody can tell.
func betterItem(table *scan.Node, key, text, written string) string {
	better := text
	switch key {
	case "ports":
		if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16); err == nil && n > 0 {
			return strconv.FormatUint(n, 10)
		}
	case "methods":
		better = strings.ToUpper(strings.TrimSpace(text))
	case "hosts":
		better = betterHost(table, strings.TrimSpace(text))
	case "aliases":
		better = normalHost(strings.TrimSpace(text))
	}
	if better == text {
		return written
	}
	return quote(better)
}

// betterHost takes a pasted URL apart where that changes nothing the gate could
// see: an empty path, or one that is a star. Its port must be the one that the
// rule has anyway.
func betterHost(table *scan.Node, text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		return normalHost(text)
	}
	name, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(name, "@:?#") || strings.Trim(path, "*") != "" {
		return text
	}
	port := map[string]uint16{"http": 80, "https": 443}[strings.ToLower(scheme)]
	normal := normalHost(name)
	f, stated := table.Field("ports")
	switch {
	case port == 0:
		return text
	case stated && listsPort(f.Value, port), !stated && port == 443:
		return normal
	case stated:
		return text
	}
	return "http://" + normal + "/"
}

// listsPort reports whether a ports clause is that very port.
func listsPort(n *scan.Node, port uint16) bool {
	if n.Kind == scan.Array && len(n.Items) == 1 {
		n = n.Items[0]
	}
	return n.Data == int64(port) || n.Data == strconv.Itoa(int(port))
}

// normalHost is a host or pattern in small letters and without a dot at its
// end. Names in other scripts stay as they are.
func normalHost(s string) string {
	p, err := policy.ParseHostPattern(s)
	if err != nil || !strings.EqualFold(p.String(), strings.TrimSuffix(s, ".")) {
		return s
	}
	return p.String()
}

// improveDate takes a date out of its quotes, and turns a day that can only be
// read in one way.
func improveDate(n *scan.Node) []edit {
	text, ok := n.Data.(string)
	if !ok {
		return nil
	}
	text = strings.TrimSpace(text)
	iso, start, end := otherDate("=" + text)
	if iso == "" || !oneReading(("=" + text)[start:end]) {
		return nil
	}
	return []edit{{spanOf(n), iso}}
}
