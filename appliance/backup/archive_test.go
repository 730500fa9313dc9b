package backup

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

var content = Content{MadeBy: "1.2.3", Files: map[string][]byte{
	Rules: []byte("version = 1\n"), Config: []byte("[log]\n"), Logins + "staff.htpasswd": {},
	History + "changes.jsonl": []byte("{}\n"), Azure + "ServiceTags_Public_20260302.json": []byte("{}"),
}}

func packed(t *testing.T, c Content) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, c.Write(&b))
	return b.Bytes()
}

func TestABackupComesBackAsItWas(t *testing.T) {
	got, err := Read(packed(t, content))
	require.NoError(t, err)
	require.Equal(t, content, got)
}

func TestTheSameContentGivesTheSameOctets(t *testing.T) {
	require.Equal(t, packed(t, content), packed(t, content))
}

func TestANameThatLeadsElsewhereIsNotWritten(t *testing.T) {
	for _, name := range []string{"", "x", "../rules.toml", "logins/../x", "logins/", "logins/a/b", "logins/.hidden", "/etc/passwd", `logins\x`, "logins/a\nb", "secrets/ca/..", "rules.toml/"} {
		require.False(t, MayStand(name), name)
		require.ErrorContains(t, Content{Files: map[string][]byte{name: nil}}.Write(new(bytes.Buffer)), "no name for a file in a backup")
	}
}

// piece is one file of a zip that somebody made by hand.
type piece struct {
	name string
	mode fs.FileMode
	text string
}

// zipped makes a zip whose manifest vouches for all that is in it.
func zipped(t *testing.T, form int, pieces ...piece) []byte {
	t.Helper()
	m := manifest{Format: form, Files: map[string]string{}}
	for _, p := range pieces {
		m.Files[p.name] = digest([]byte(p.text))
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range append([]piece{{manifestName, 0o600, string(text)}}, pieces...) {
		h := &zip.FileHeader{Name: p.name, Method: zip.Deflate}
		h.SetMode(p.mode)
		w, err := z.CreateHeader(h)
		require.NoError(t, err)
		_, err = w.Write([]byte(p.text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestWhatIsNoBackupIsRefusedAndItIsSaidWhy(t *testing.T) {
	rules := piece{Rules, 0o600, "version = 1\n"}
	whole := packed(t, content)
	bomb := string(bytes.Repeat([]byte{0}, 1<<16+1))
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"rubbish":            {[]byte("rubbish"), "no backup of gatehouse"},
		"nothing":            {nil, "no backup of gatehouse"},
		"cut short":          {whole[:len(whole)-30], "no backup of gatehouse"},
		"a path out of it":   {zipped(t, 1, rules, piece{"../../etc/passwd", 0o600, "x"}), "has no place in a backup"},
		"an absolute path":   {zipped(t, 1, piece{"/etc/passwd", 0o600, "x"}), "has no place in a backup"},
		"a path of Windows":  {zipped(t, 1, piece{`logins\..\x`, 0o600, "x"}), "has no place in a backup"},
		"a link":             {zipped(t, 1, piece{Logins + "x", fs.ModeSymlink | 0o777, "/etc/shadow"}), "no plain file"},
		"a device":           {zipped(t, 1, piece{Logins + "x", fs.ModeDevice | 0o600, ""}), "no plain file"},
		"a folder":           {zipped(t, 1, piece{"logins/", fs.ModeDir | 0o700, ""}), "has no place in a backup"},
		"a file twice":       {zipped(t, 1, rules, rules), "is in it twice"},
		"a bomb":             {zipped(t, 1, piece{Rules, 0o600, bomb}), "unpacks to more"},
		"many large files":   {zipped(t, 1, piece{Logins + "a", 0o600, bomb[1:]}, piece{Logins + "b", 0o600, bomb[1:]}, piece{Logins + "c", 0o600, bomb[1:]}), "unpacks to more"},
		"of a later version": {zipped(t, format+1, rules), "upgrade first"},
		"of no version":      {zipped(t, 0, rules), "says no format"},
		"a file nobody vouches": {func() []byte {
			z := zipped(t, 1, rules)
			return bytes.ReplaceAll(z, []byte(Rules), []byte("logins/rul"))
		}(), "cannot be read"},
		"another's zip": {func() []byte {
			z := zipped(t, 1)
			return bytes.ReplaceAll(z, []byte(manifestName), []byte("gatehouse.tom"))
		}(), "has no place"},
	} {
		_, err := bounds{inside: 2 << 16, file: 1 << 16, files: 10}.read(c.text)
		require.Error(t, err, name)
		if name != "a file nobody vouches" {
			require.ErrorContains(t, err, c.says, name)
		}
	}
}

func TestAFileThatWasChangedInABackupIsTold(t *testing.T) {
	changed := Content{MadeBy: "1.2.3", Files: map[string][]byte{Rules: []byte("version = 1\n")}}
	m := manifest{Format: 1, Files: map[string]string{Rules: digest([]byte("another\n"))}}
	require.ErrorContains(t, m.vouch(changed.Files), "damaged, or somebody changed it")
	m.Files = map[string]string{Rules: digest(changed.Files[Rules]), Config: digest(nil)}
	require.ErrorContains(t, m.vouch(changed.Files), "gatehouse.toml is missing")
}

func TestTooManyEntriesAreRefusedBeforeTheyAreRead(t *testing.T) {
	text := bytes.Repeat([]byte("PK\x01\x02"+string(make([]byte, 42))), 2*usual.files+1)
	_, err := Read(text)
	require.ErrorContains(t, err, "more than the 1000 files", "not that it is no zip: it was not looked at as one")
}

func TestSecretsThatTheManifestDoesNotOwnUpToAreRefused(t *testing.T) {
	c := Content{Files: map[string][]byte{Keys + "a.pem": []byte("x")}}
	_, err := Read(packed(t, c))
	require.ErrorContains(t, err, "its manifest says that it holds no secrets")
	c.Secrets = true
	_, err = Read(packed(t, c))
	require.NoError(t, err)
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := content.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Read(text)
		if err != nil {
			return
		}
		for name := range c.Files {
			require.True(t, MayStand(name), name)
		}
		again, err := Read(packed(t, c))
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
