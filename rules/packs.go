package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

//go:embed packs/*.toml
var packFiles embed.FS

//go:embed default.toml
var defaultRules []byte

// Default is the rules file that holds where there is none: the vendor's packs
// for programs on this machine.
func Default() []byte { return append([]byte(nil), defaultRules...) }

// Pack is a built-in list of what a vendor's firewall page asks for.
type Pack struct {
	Name    string
	Summary string // one line
	Text    []byte // the rules, in the language of rules.toml
}

// Packs lists the built-in packs by name.
func Packs() []Pack {
	var all []Pack
	files, err := fs.Glob(packFiles, "packs/*.toml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, path := range files {
		text, err := packFiles.ReadFile(path)
		if err != nil {
			panic(err) // embedded, and just listed
		}
		first, _, _ := strings.Cut(string(text), "\n")
		all = append(all, Pack{
			Name:    strings.TrimSuffix(strings.TrimPrefix(path, "packs/"), ".toml"),
			Summary: strings.TrimSpace(strings.TrimPrefix(first, "#")),
			Text:    text,
		})
	}
	return all
}

// packTables are the built-in packs as read files, by name. They are the same
// for every load; nobody changes them.
var packTables = sync.OnceValue(func() map[string]*file {
	all := map[string]*file{}
	for _, p := range Packs() {
		f := readFile(p.Name+".toml", p.Text)
		if HasErrors(f.doc.problems) {
			panic(fmt.Sprintf("rules: built-in pack %s: %v", p.Name, f.doc.problems))
		}
		all[p.Name] = f
	}
	return all
})

func packNames() []string {
	var names []string
	for _, p := range Packs() {
		names = append(names, p.Name)
	}
	return names
}
