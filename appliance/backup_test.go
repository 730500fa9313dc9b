package appliance

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/backup"
	"gatehouse/appliance/console"
	"gatehouse/appliance/journal"
)

// upload sends a backup by the form of the console.
func (s *site) upload(do string, file []byte) (status int, body string) {
	s.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	require.NoError(s.t, form.WriteField("do", do))
	part, err := form.CreateFormFile("file", "gatehouse.zip")
	require.NoError(s.t, err)
	_, err = part.Write(file)
	require.NoError(s.t, err)
	require.NoError(s.t, form.Close())
	resp, err := browser.Post("http://"+s.address("admin")+"/backup", form.FormDataContentType(), &b)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(text)
}

func TestABackupIsTakenAndPutBackAtTheConsole(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	status, file := s.post("/backup", url.Values{"do": {"take"}})
	require.Equal(t, 200, status)
	require.Equal(t, journal.Backup, s.trail()[0].What)
	c, err := backup.Read([]byte(file))
	require.NoError(t, err)
	require.Equal(t, s.fill(rulesText), string(c.Files[backup.Rules]))
	require.Contains(t, c.Files, backup.Config)
	require.Contains(t, c.Files, backup.History+"changes.jsonl")

	other := strings.ReplaceAll(rulesText, "www.groupcall.test", "www.example.org")
	s.setRules(other)
	s.rulebook.Reload(outside, true)
	status, body := s.upload("check", []byte(file))
	require.Equal(t, 200, status)
	require.Contains(t, body, "Nothing is changed yet.")
	require.Contains(t, body, "allow updates")
	status, _ = s.get("/update.inf")
	require.Equal(t, 403, status)

	status, body = s.upload("restore", []byte(file))
	require.Equal(t, 200, status)
	require.Contains(t, body, "The backup is put back.")
	require.Contains(t, body, "New rules are on trial until")
	status, _ = s.get("/update.inf")
	require.Equal(t, 200, status)
	require.Equal(t, journal.Restore, s.trail()[0].What)
	status, _ = s.post("/rules", url.Values{"do": {"revert"}})
	require.Equal(t, 200, status)
	text, err := os.ReadFile(filepath.Join(s.dir, "rules.toml"))
	require.NoError(t, err)
	require.Equal(t, s.fill(other), string(text))

	status, body = s.upload("restore", []byte("rubbish"))
	require.Equal(t, 422, status)
	require.Contains(t, body, "no backup of gatehouse")
}

func TestRulesOfABackupThatCannotBeLoadedChangeNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	c := backup.Content{Files: map[string][]byte{backup.Rules: []byte("version = 1\nrubbish\n"), backup.Logins + "new.htpasswd": []byte("x")}}
	var b bytes.Buffer
	require.NoError(t, c.Write(&b))
	resp, err := browser.Post("http://"+s.address("admin")+"/api/v1/restore", "application/zip", &b)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 422, resp.StatusCode)
	require.Contains(t, string(text), "rules.toml:2:8: error")
	require.NoFileExists(t, filepath.Join(s.dir, "new.htpasswd"))
}

// staff is a password file.
const staff = "head:$2y$10$vI8aWBnW3fID.ZQ4/zo1G.q1lRps.9cGLcZEiGDMVr5yUP1KUOYTa\n"

// weighed is a backup of some files, held against a folder with a rules file and
// a configuration.
func weighed(t *testing.T, dir string, files map[string][]byte) *Restoration {
	t.Helper()
	f := Files{Config: filepath.Join(dir, "gatehouse.toml"), Rules: filepath.Join(dir, "rules.toml")}
	config, problems, err := f.ReadConfig()
	require.NoError(t, err)
	require.Empty(t, problems)
	r, err := WeighRestore(f, config, backup.Content{Files: files}, false)
	require.NoError(t, err)
	return r
}

func newFolder(t *testing.T) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.toml"), "[state]\ndir = \"state\"\n")
	write(t, filepath.Join(dir, "rules.toml"), "version = 1\n[[allow]]\nname = \"a\"\nhosts = \"www.example.org\"\n")
	return dir
}

func TestAPasswordFileTakesNobodyElsesPlace(t *testing.T) {
	dir := newFolder(t)
	write(t, filepath.Join(dir, "elsewhere", "secret"), "whole\n")
	require.NoError(t, os.Symlink(filepath.Join("elsewhere", "secret"), filepath.Join(dir, "link")))
	r := weighed(t, dir, map[string][]byte{
		backup.Logins + "rules.toml": []byte("x"), backup.Logins + "gatehouse.toml": []byte("x"), backup.Logins + "link": []byte("x"),
	})
	require.Empty(t, r.Words)
	notes := strings.Join(r.Notes, "\n")
	require.Contains(t, notes, "rules.toml is not put back as a password file")
	require.Contains(t, notes, "gatehouse.toml is not put back as a password file")
	require.Contains(t, notes, "no plain file")
}

func TestWhereOneFileCannotBeWrittenNoneIs(t *testing.T) {
	dir := newFolder(t)
	write(t, filepath.Join(dir, "a.htpasswd"), "old\n")
	r := weighed(t, dir, map[string][]byte{backup.Logins + "a.htpasswd": []byte(staff), backup.Logins + "b.htpasswd": []byte(staff),
		backup.Rules: []byte("version = 1\n[[allow]]\nname = \"b\"\nhosts = \"www.example.org\"\n[[client]]\nname = \"c\"\nfrom = \"10.0.0.1\"\nlogins = \"a.htpasswd\"\n[[client]]\nname = \"d\"\nfrom = \"10.0.0.2\"\nlogins = \"b.htpasswd\"\n")})
	require.True(t, r.Allowed(), "%v", r.Problems)
	err := r.Apply(func([]byte) error { return os.ErrPermission })
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "nothing is put back")
	text, err := os.ReadFile(filepath.Join(dir, "a.htpasswd"))
	require.NoError(t, err)
	require.Equal(t, "old\n", string(text))
	require.NoFileExists(t, filepath.Join(dir, "b.htpasswd"))
}

func TestTheHistoryOfABackupJoinsTheOneThatIsThere(t *testing.T) {
	dir := newFolder(t)
	there, other := historyIn(filepath.Join(dir, "state")), journal.Journal(t.TempDir())
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	require.NoError(t, there.Note(journal.Entry{Time: at.Add(time.Hour), By: "new", What: journal.Edit}))
	require.NoError(t, other.Note(journal.Entry{Time: at, By: "old", What: journal.Edit, Done: true, SHA256: journal.Digest([]byte("x\n"))}))
	require.NoError(t, other.Keep([]byte("x\n"), at))
	past := map[string][]byte{backup.History + strings.Repeat("0", 64) + ".rules.toml": []byte("not what its name says")}
	entries, err := os.ReadDir(string(other))
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(string(other), e.Name()))
		require.NoError(t, err)
		past[backup.History+e.Name()] = text
	}
	r := weighed(t, dir, past)
	require.Equal(t, []string{"the history: 2 changes and files that are not in it come back"}, r.Words)
	require.NoError(t, r.Apply(nil))
	got, unread, err := there.Entries()
	require.NoError(t, err)
	require.Zero(t, unread)
	require.Equal(t, []string{"new", "old"}, []string{got[0].By, got[1].By})
	_, err = there.Text(journal.Digest([]byte("x\n")))
	require.NoError(t, err)
	require.Empty(t, weighed(t, dir, past).Words, "it is all there now")
}

func TestOnlyFilesThatTheRulesNameArePutBackBesideThem(t *testing.T) {
	dir := newFolder(t)
	write(t, filepath.Join(dir, "gatehouse.toml"), "[listen]\nweb_config = \"web.yml\"\n[state]\ndir = \"state\"\n")
	write(t, filepath.Join(dir, "web.yml"), "basic_auth_users:\n  "+login+"\n")
	require.NoError(t, os.Link(filepath.Join(dir, "rules.toml"), filepath.Join(dir, "alias")))
	text := "version = 1\n[[allow]]\nname = \"a\"\nhosts = \"www.example.org\"\n"
	files := map[string][]byte{backup.Logins + "stranger": []byte(staff)}
	for i, name := range []string{"ours", "web.yml", "alias"} {
		text += "[[client]]\nname = \"" + strings.Trim(name, ".") + "\"\nfrom = \"10.0.0." + string(rune('1'+i)) + "\"\nlogins = \"./" + name + "\"\n"
		files[backup.Logins+name] = []byte(staff)
	}
	text = strings.Replace(text, "name = \"web.yml\"", "name = \"web\"", 1)
	files[backup.Rules] = []byte(text)
	r := weighed(t, dir, files)
	require.True(t, r.Allowed(), "%v", r.Problems)
	require.Len(t, r.steps, 1)
	require.Equal(t, filepath.Join(dir, "ours"), r.steps[0].path)
	notes := strings.Join(r.Notes, "\n")
	require.Contains(t, notes, "stranger is not put back: the rules of the backup name no such file")
	require.Contains(t, notes, "web.yml is not put back as a password file: another file has that name")
	require.Contains(t, notes, "alias is not put back as a password file: another file has that name")
}

func TestAPrivateKeyIsInABackupWithSecretsAlone(t *testing.T) {
	dir := newFolder(t)
	selfSigned(t, dir, "")
	write(t, filepath.Join(dir, "rules.toml"), `version = 1
[[client]]
name = "devices"
from = "10.20.0.0/16"
[[publish]]
name = "emerge"
clients = "devices"
listen = "10.20.0.1:8443"
to = "http://10.20.0.5"
tls = ["cert.pem", "key.pem"]
`)
	f := Files{Config: filepath.Join(dir, "gatehouse.toml"), Rules: filepath.Join(dir, "rules.toml")}
	config, _, err := f.ReadConfig()
	require.NoError(t, err)
	file, notes, err := TakeBackup(f, config, "test", false)
	require.NoError(t, err)
	c, err := backup.Read(file)
	require.NoError(t, err)
	require.Contains(t, c.Files, backup.Logins+"cert.pem")
	for name, text := range c.Files {
		require.NotContains(t, string(text), "PRIVATE KEY", name)
	}
	require.Contains(t, strings.Join(notes, "\n"), "key.pem is not in the backup, because a private key is in it")

	file, notes, err = TakeBackup(f, config, "test", true)
	require.NoError(t, err)
	require.Empty(t, notes)
	key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "key.pem")))
	r, err := ReadRestore(f, config, file, false)
	require.NoError(t, err)
	require.NoError(t, r.Apply(nil))
	back, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	require.NoError(t, err)
	require.Equal(t, key, back)
	info, err := os.Stat(filepath.Join(dir, "key.pem"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestWithoutLoginTheConsoleGivesNoSecretsAndTakesRulesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	for _, path := range []string{"/api/v1/backup?secrets=1", "/backup"} {
		status, body := s.post(path, url.Values{"do": {"take"}, "secrets": {"1"}})
		require.Equal(t, 403, status, path)
		require.Contains(t, body, "nobody who has not logged in", path)
	}
	require.False(t, s.trail()[0].Done)
	config := filepath.Join(s.dir, "gatehouse.toml")
	had, err := os.ReadFile(config)
	require.NoError(t, err)
	c := backup.Content{Secrets: true, Files: map[string][]byte{
		backup.Config: append([]byte("# another\n"), had...), backup.CA + "x.key": []byte("x"),
		backup.Rules: []byte(s.fill(strings.ReplaceAll(rulesText, "www.groupcall.test", "www.example.org"))),
	}}
	var b bytes.Buffer
	require.NoError(t, c.Write(&b))
	status, body := s.upload("restore", b.Bytes())
	require.Equal(t, 200, status, body)
	require.Contains(t, body, "New rules are on trial until")
	require.Contains(t, body, "is not put back, because this console asks for no login")
	now, err := os.ReadFile(config)
	require.NoError(t, err)
	require.Equal(t, string(had), string(now))
	require.NoFileExists(t, filepath.Join(s.Config.CAFolder(), "x.key"))
}

func TestALoginIsAPasswordOrACertificateThatIsRequired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yml")
	guarded := func(text string) bool { write(t, path, text); return webConfig(path).guarded() }
	require.False(t, webConfig("").guarded())
	require.False(t, guarded(webWithTLS))
	require.False(t, guarded(webWithTLS+"  client_auth_type: VerifyClientCertIfGiven\n"))
	require.True(t, guarded(webWithTLS+"  client_auth_type: RequireAndVerifyClientCert\n"))
	require.True(t, guarded("basic_auth_users:\n  "+login+"\n"))
}

func TestEverySecretOfTheConfigurationIsMaskedAndComesBack(t *testing.T) {
	for text, hidden := range map[string]string{
		`url = "http://u:a@b@c@h:1"`:                    `url = "http://u:***@h:1"`,
		`url = "http://u:S3C\"'RET@h:1"`:                `url = "http://u:***@h:1"`,
		`url = 'http://u:S3C"RET@h:1'`:                  `url = 'http://u:***@h:1'`,
		`url = "http://T0KEN@h:1" # ask it@school`:      `url = "http://***@h:1" # ask it@school`,
		`webhook = "https://h/services/S3CRET"`:         `webhook = "https://h/***"`,
		`"webhook" = 'https://h?k=S3CRET'`:              `"webhook" = 'https://h/***'`,
		"url = \"\"\"http://u:S3CRET@h:1\"\"\"":         "url = \"\"\"http://u:***@h:1\"\"\"",
		`# it's url = "http://u:S3CRET@h:1"`:            `# it's url = "http***`,
		`mail_to = ["it@school.example"]`:               `mail_to = ["it@school.example"]`,
		`upstreams = ["https://dns.example/dns-query"]`: `upstreams = ["https://dns.example/dns-query"]`,
	} {
		require.Equal(t, hidden, string(withoutPasswords([]byte(text))))
		whole, left := withPasswords([]byte(hidden), []byte(text))
		require.Equal(t, text, string(whole))
		require.Zero(t, left)
	}
	two := []byte("url = \"http://ONE@h:1\"\nurl = \"http://TWO@h:1\"\n")
	whole, _ := withPasswords(withoutPasswords(two), two)
	require.Equal(t, string(two), string(whole))
}

func TestNothingThatIsToldOfAFaultyConfigurationHasASecretInIt(t *testing.T) {
	for _, text := range []string{
		"[[upstream]]\nname = \"a\"\nurl = \"http://u:S3CR\\\"S3CR@S3CR@h\"\n",
		"[[upstream]]\nname = \"a\"\nurl = 'http://u:x\"S3CR@h'\n",
		"[[upstream]]\nname = \"a\"\nurl = \"https://S3CR@h:1\"\n",
		"[[upstream]]\nname = \"a\"\nurl = \"u:S3CR@h:1\"\n",
		"[[upstream]]\nname = \"a\"\nurl = \"S3CR@h:1\"\n",
		"[[upstream]]\nname = \"a\"\nulr = \"http://u:S3CR@h:1\"\n",
		"[[upstream]]\nname = \"a\"\nurl = http://u:S3CR@h:1\n",
		"[alarm]\nwebhook = \"ftp://h/S3CR\"\n",
		"[alarm]\nwebhok = \"https://h/S3CR\"\n",
		"[alarm]\nwebhok = \"hooks.example.org/S3CR\"\n",
		"[alarm]\nweb_hook = \"https://h?S3CR\"\n",
	} {
		_, problems := ParseConfig("gatehouse.toml", []byte(text))
		require.NotEmpty(t, problems, text)
		for _, p := range problems {
			require.NotContains(t, p.Message+p.Fix+p.Why+p.Source+p.String(), "S3CR", text)
		}
	}
	require.Equal(t, "http://***@h:1", ParentURL{Host: "h", Port: 1, user: "TOKEN"}.String())
}

func TestPasswordsOfParentsStayAtHome(t *testing.T) {
	text := []byte("[[upstream]]\nurl = \"http://user:p4ss@parent.example:8080\"\n")
	hidden := withoutPasswords(text)
	require.Equal(t, "[[upstream]]\nurl = \"http://user:***@parent.example:8080\"\n", string(hidden))
	whole, left := withPasswords(hidden, text)
	require.Equal(t, string(text), string(whole))
	require.Zero(t, left)
	_, left = withPasswords(hidden, []byte("url = \"http://user:p4ss@another.example:8080\"\n"))
	require.Equal(t, 1, left, "a password is for its own parent alone")
}

var _ console.Keeper = window{}
