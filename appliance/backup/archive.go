// Package backup is the form of a backup: a zip file that any machine can look
// into, with a manifest. It knows which names may stand in one and how much; what
// the files mean and where they go is the appliance's to say.
//
// The same content gives the same octets: no time of day is in it.
package backup

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Content is what a backup holds.
type Content struct {
	MadeBy  string // the version of gatehouse that made it
	Secrets bool   // keys and passwords are in it
	Files   map[string][]byte
}

// The names in a backup. A folder's name is followed by one name without slashes.
const (
	Config  = "gatehouse.toml"
	Rules   = "rules.toml"
	Logins  = "logins/"  // password files and certificates that lie beside the rules
	Azure   = "azure/"   // the list of service tags in force
	History = "history/" // of the journal
	CA      = "secrets/ca/"
	Keys    = "secrets/tls/"           // files with private keys that lie beside the rules
	Web     = "secrets/web-config.yml" // TLS and logins of the admin listener
)

const (
	manifestName = "manifest.json"
	// format is the version of the form that is written, and the newest that is
	// read.
	format = 1
	// MostBytes bounds a backup as it is stored.
	MostBytes = 64 << 20
)

// bounds are what a backup may unpack to: in all, of each file, in number.
type bounds struct {
	inside, file int64
	files        int
}

var usual = bounds{inside: 160 << 20, file: 64 << 20, files: 1000}

type manifest struct {
	Format  int               `json:"format"`
	MadeBy  string            `json:"made_by"`
	Secrets bool              `json:"secrets"`
	Files   map[string]string `json:"files"` // name: SHA-256
}

// mayStand are the names that may stand in a backup. No name begins with a dot or
// leads anywhere but to where the appliance puts files of its sort.
var mayStand = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(gatehouse\.toml|rules\.toml|secrets/web-config\.yml|` +
		`(logins|azure|history|secrets/ca|secrets/tls)/[A-Za-z0-9_][A-Za-z0-9._ -]{0,127})$`)
})

// MayStand reports whether a file of that name may stand in a backup.
func MayStand(name string) bool { return mayStand().MatchString(name) }

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Write writes a backup.
func (c Content) Write(w io.Writer) error {
	m := manifest{Format: format, MadeBy: c.MadeBy, Secrets: c.Secrets, Files: map[string]string{}}
	names := slices.Sorted(maps.Keys(c.Files))
	for _, name := range names {
		if !MayStand(name) {
			return fmt.Errorf("%q is no name for a file in a backup", name)
		}
		m.Files[name] = digest(c.Files[name])
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	if err := add(z, manifestName, append(text, '\n')); err != nil {
		return err
	}
	for _, name := range names {
		if err := add(z, name, c.Files[name]); err != nil {
			return err
		}
	}
	return z.Close()
}

func add(z *zip.Writer, name string, text []byte) error {
	f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return err
}

// Read reads a backup whole, or says why it is none: nothing in it is believed
// that its manifest does not vouch for, and nothing is unpacked beyond the bounds,
// whatever its headers say.
func Read(text []byte) (Content, error) { return usual.read(text) }

func (b bounds) read(text []byte) (Content, error) {
	if len(text) > MostBytes {
		return Content{}, fmt.Errorf("it is larger than the %d MiB that a backup may have", MostBytes>>20)
	}
	// Counted before they are read: an entry of 46 octets takes several hundred there.
	// By chance the signature (APPNOTE 4.3.12) stands in what is compressed, too.
	if n := bytes.Count(text, []byte("PK\x01\x02")); n > 2*b.files {
		return Content{}, fmt.Errorf("it holds more than the %d files that a backup has at most", b.files)
	}
	z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	switch {
	case err != nil:
		return Content{}, fmt.Errorf("it is no backup of gatehouse, or damaged: %w", err)
	case len(z.File) > b.files:
		return Content{}, fmt.Errorf("it holds %d files; a backup has at most %d", len(z.File), b.files)
	}
	files, err := b.unpack(z.File)
	if err != nil {
		return Content{}, err
	}
	var m manifest
	switch err := json.Unmarshal(files[manifestName], &m); {
	case files[manifestName] == nil:
		return Content{}, errors.New("it is no backup of gatehouse: it has no manifest.json")
	case err != nil:
		return Content{}, fmt.Errorf("its manifest.json cannot be read: %w", err)
	case m.Format < 1:
		return Content{}, errors.New("its manifest.json says no format")
	case m.Format > format:
		return Content{}, fmt.Errorf("it was made by gatehouse %s in a form that this version does not know; upgrade first", m.MadeBy)
	}
	delete(files, manifestName)
	return Content{m.MadeBy, m.Secrets, files}, m.vouch(files)
}

// vouch holds the files against the manifest.
func (m manifest) vouch(files map[string][]byte) error {
	for name, text := range files {
		if !m.Secrets && strings.HasPrefix(name, "secrets/") {
			return fmt.Errorf("%s is in it, but its manifest says that it holds no secrets", name)
		}
		if m.Files[name] != digest(text) {
			return fmt.Errorf("%s in it is not what its manifest says: the backup is damaged, or somebody changed it", name)
		}
	}
	for name := range m.Files {
		if files[name] == nil {
			return fmt.Errorf("%s is missing from it: the backup is damaged, or somebody changed it", name)
		}
	}
	return nil
}

func (b bounds) unpack(list []*zip.File) (map[string][]byte, error) {
	files := map[string][]byte{}
	left := b.inside
	for _, f := range list {
		switch {
		case f.Name != manifestName && !MayStand(f.Name):
			return nil, fmt.Errorf("it holds a file %q, which has no place in a backup", f.Name)
		case !f.Mode().IsRegular():
			return nil, fmt.Errorf("%s in it is no plain file", f.Name)
		case files[f.Name] != nil:
			return nil, fmt.Errorf("%s is in it twice", f.Name)
		}
		text, err := read(f, min(left, b.file))
		if err != nil {
			return nil, fmt.Errorf("%s in it cannot be read: %w", f.Name, err)
		}
		files[f.Name], left = text, left-int64(len(text))
	}
	return files, nil
}

// read unpacks one file of at most so many octets; never nil without an error.
func read(f *zip.File, most int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, err
	case n > most:
		return nil, errors.New("it unpacks to more than a backup may hold")
	}
	return append([]byte{}, b.Bytes()...), nil
}
