package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "gatehouse/"

// floors are the rooms, lowest first. A room imports only lower floors; inner
// rooms stand on the floor of the room that holds them.
var floors = [][]string{
	{"policy", "internal/clienthello", "internal/htpasswd", "internal/http1", "internal/keypair", "internal/nowait", "internal/servicetags", "internal/wholefile"},
	{"internal/ca", "internal/epoll", "internal/flow", "rules", "vm"},
	{"proxy", "dnsallow", "metrics"},
	{"appliance"},
	{"cmd/gatehouse", "cmd/gatehouse-vm"},
}

// testOnly are packages that no shipped code may import.
var testOnly = []string{"internal/nettest", "internal/archtest", "bench"}

// outside are rooms that meet the gate as its users do, and import nothing of it.
var outside = map[string]string{
	"bench": "what reaches into the gate measures something that nobody runs; it drives the built binary",
}

// homes says where a guest lives, and why it must not spread.
var homes = map[string]struct{ room, why string }{
	"github.com/elazarl/goproxy":          {"proxy", "what decides, resolves, refuses and records must not know the pipeline that carries"},
	"github.com/miekg/dns":                {"dnsallow", "DNS messages are read and written in one place"},
	"github.com/prometheus/client_golang": {"metrics", "everybody else writes Records; only the tally counts"},
	"github.com/BurntSushi/toml":          {"rules", "one decoder, one strictness, one way to report a position"},
}

// pure are packages the policy must not import: it has no I/O, no clock to read
// and nothing to log.
var forbidden = map[string]map[string]string{
	"policy": {
		"net/http": "the policy does not speak HTTP", "net": "the policy opens nothing", "os": "the policy reads no file",
		"log/slog": "the policy logs nothing", "log": "the policy logs nothing", "math/rand": "a decision is no game of chance",
		"context": "a decision does not wait",
	},
}

type source struct {
	room, file string // room is the package's folder, slashes
	imports    []string
}

func TestARoomImportsOnlyLowerFloors(t *testing.T) {
	floor := map[string]int{}
	for i, rooms := range floors {
		for _, r := range rooms {
			floor[r] = i
		}
	}
	for _, s := range sources(t) {
		from, known := outer(s.room, floor)
		if isTestOnly(s.room) {
			continue
		}
		require.True(t, known, "%s: the folder %s is no room of the plan; add it to floors with a reason", s.file, s.room)
		for _, imp := range s.imports {
			inner, own := strings.CutPrefix(imp, module)
			if !own {
				continue
			}
			require.False(t, isTestOnly(inner), "%s imports %s, which is for tests", s.file, inner)
			to, known := outer(inner, floor)
			require.True(t, known, "%s imports %s, which is no room of the plan", s.file, inner)
			if to == from {
				continue
			}
			require.Less(t, floor[to], floor[from], "%s: %s (floor %d) leans on %s (floor %d)", s.file, from, floor[from], to, floor[to])
			require.Equal(t, to, inner, "%s imports %s, an inner room of %s", s.file, inner, to)
		}
	}
}

func TestGuestsStayInTheirHomes(t *testing.T) {
	for _, s := range sources(t) {
		if isTestOnly(s.room) {
			continue
		}
		for _, imp := range s.imports {
			for guest, home := range homes {
				if imp == guest || strings.HasPrefix(imp, guest+"/") {
					require.True(t, within(s.room, home.room), "%s imports %s, whose home is %s: %s", s.file, guest, home.room, home.why)
				}
			}
			require.NotContains(t, imp, "stretchr/testify", s.file)
			if why := forbidden[s.room][imp]; why != "" {
				t.Errorf("%s imports %s: %s", s.file, imp, why)
			}
		}
	}
}

func TestWhatStandsOutsideImportsNothingOfTheGate(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		for room, why := range outside {
			if !within(s.room, room) {
				continue
			}
			seen[room] = true
			for _, imp := range s.imports {
				if inner, own := strings.CutPrefix(imp, module); own {
					require.True(t, within(inner, room), "%s imports %s: %s", s.file, inner, why)
				}
			}
		}
	}
	require.Len(t, seen, len(outside), "a room that stands outside is not there")
}

func TestThePlanNamesRoomsThatExist(t *testing.T) {
	built := map[string]bool{}
	for _, s := range sources(t) {
		built[s.room] = true
	}
	for _, rooms := range floors {
		for _, r := range rooms {
			require.True(t, built[r], "%s is in the plan and nowhere else", r)
		}
	}
}

// outer is the room of the plan that a folder belongs to.
func outer(folder string, floor map[string]int) (string, bool) {
	for f := folder; f != "."; f = path.Dir(f) {
		if _, ok := floor[f]; ok {
			return f, true
		}
	}
	return "", false
}

func within(folder, room string) bool { return folder == room || strings.HasPrefix(folder, room+"/") }

func isTestOnly(folder string) bool {
	for _, t := range testOnly {
		if within(folder, t) {
			return true
		}
	}
	return false
}

// sources reads the imports of every file that is not a test.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var found []source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file)
		s := source{room: path.Dir(filepath.ToSlash(rel)), file: filepath.ToSlash(rel)}
		for _, imp := range f.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			s.imports = append(s.imports, p)
		}
		found = append(found, s)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return found
}
