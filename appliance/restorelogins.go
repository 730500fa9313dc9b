//go:build linux

package appliance

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"gatehouse/appliance/backup"
)

// logins takes the password files and the files of TLS that the rules of the backup
// name. They lie beside the rules and nowhere else, and never in the place of a file
// that the configuration names.
func (r *Restoration) logins(c backup.Content, named map[string]bool, configs ...*Config) {
	for _, sort := range []struct {
		folder, what string
		mode         fs.FileMode
	}{{backup.Logins, "the password file", 0o640}, {backup.Keys, "the file with a private key", 0o600}} {
		files := below(c, sort.folder)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			path := filepath.Join(filepath.Dir(r.files.Rules), name)
			switch info, err := os.Lstat(path); {
			case r.files.Rules == "":
				r.note("%s is not put back: there is no rules file beside which it would lie", name)
			case r.taken(path, configs):
				r.note("%s is not put back as a password file: another file has that name", name)
			case err == nil && !info.Mode().IsRegular():
				r.note("%s is not put back: what has its name is no plain file", path)
			case !named[path]:
				r.note("%s is not put back: the rules of the backup name no such file", name)
			default:
				r.replace(sort.what, path, files[name], sort.mode, "")
			}
		}
	}
}

// taken reports whether a path, however it is spelt, is that of a file which the gate
// uses for something else.
func (r *Restoration) taken(path string, configs []*Config) bool {
	others := []string{r.files.Rules, r.files.Config}
	for _, c := range configs {
		others = append(others, c.Listen.WebConfig, c.TLS.CAFile, c.Alarm.MailPasswordFile, c.Azure.Tags, c.Log.Decisions)
		others = append(others, c.DNS.Certificate...)
	}
	return slices.ContainsFunc(others, func(other string) bool {
		return other != "" && (filepath.Clean(other) == path || sameFile(other, path))
	})
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}
