package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// image is the folder that vm/image/build has filled; the tests of this file boot
// it under emulation, and are run by .ci/image alone.
func image(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GATEHOUSE_IMAGE")
	if dir == "" {
		t.Skip("GATEHOUSE_IMAGE names no built image; .ci/image builds one")
	}
	return dir
}

// all is whether the formats of hypervisors are there, and time to boot each.
func all() bool { return os.Getenv("GATEHOUSE_BOOTS") == "all" }

// onlyInAll skips a boot that takes more than there is time for at each run.
func onlyInAll(t *testing.T) {
	t.Helper()
	if !all() {
		t.Skip("GATEHOUSE_BOOTS is not all; .ci/image all sets it")
	}
}

func only(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.Len(t, found, 1, pattern)
	return found[0]
}

// version is of the image, as its screen says it: "gatehouse 1.2.3".
func version(t *testing.T, dir string) string {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(only(t, filepath.Join(dir, "gatehouse-*.raw"))), ".raw")
	return strings.Replace(name, "-", " ", 1)
}

// disk is how a raw file becomes a disk of a machine.
func disk(path string, more string) []string {
	return []string{"-drive", "if=virtio,format=raw,file=" + path + more}
}

// system is the system disk in one of its formats, as read-only as it is meant to be.
func system(t *testing.T, dir, format string) []string {
	t.Helper()
	return []string{"-drive", "if=virtio,readonly=on,format=" + format + ",file=" + only(t, filepath.Join(dir, "gatehouse-*."+format))}
}

// direct starts the image's kernel without its loader, by the words that the loader
// gives it: the quick way.
func direct(t *testing.T, dir, format string) []string {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(dir, "root.partuuid"))
	require.NoError(t, err)
	loader, err := os.ReadFile("../../vm/image/grub.cfg")
	require.NoError(t, err)
	_, words, _ := strings.Cut(string(loader), "linux /gatehouse/vmlinuz ")
	words, _, _ = strings.Cut(words, "\n")
	require.Contains(t, words, "@ROOT@")
	return append([]string{
		"-machine", "q35", "-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", filepath.Join(dir, "initrd"),
		"-append", strings.Replace(words, "@ROOT@", strings.TrimSpace(string(id)), 1),
	}, system(t, dir, format)...)
}

// secure starts the disk, in the format that Hyper-V takes, as a machine with Secure
// Boot and Microsoft's keys does.
func secure(t *testing.T, dir string) []string {
	t.Helper()
	vars := filepath.Join(t.TempDir(), "vars.fd")
	tool(t, "cp", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", vars)
	return append([]string{
		"-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
		"-drive", "if=pflash,unit=1,format=raw,file=" + vars,
	}, system(t, dir, "vhdx")...)
}

// doors are addresses of this machine that lead to ports of the guest.
type doors struct {
	proxy, names, console string
	args                  []string
}

// network is the guest's: 10.0.2.0/24, where 10.0.2.2 is whoever comes in through a
// door and 10.0.2.100 is the origin. Nothing else is there.
func network(t *testing.T, guest, origin string) doors {
	t.Helper()
	at := free(t, 3)
	d := doors{proxy: at[0], names: at[1], console: at[2]}
	d.args = []string{"-netdev", fmt.Sprintf("user,id=lan,net=10.0.2.0/24,restrict=on,hostfwd=tcp:%s-%s:3128,hostfwd=tcp:%s-%s:53,hostfwd=tcp:%s-%s:9080,guestfwd=tcp:10.0.2.100:80-cmd:busybox nc %s",
		d.proxy, guest, d.names, guest, d.console, guest, strings.Replace(origin, ":", " ", 1)),
		"-device", "virtio-net-pci,netdev=lan"}
	return d
}

// free are ports of a loopback address that nothing else here uses, so that they are
// free still when qemu takes them.
func free(t *testing.T, n int) (list []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.78:0")
		require.NoError(t, err)
		defer ln.Close()
		list = append(list, ln.Addr().String())
	}
	return list
}

// ask sends a request through the machine's proxy.
func (d doors) ask(t *testing.T, target string) *http.Response {
	t.Helper()
	c := http.Client{Timeout: left(t), Transport: &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: d.proxy}), DisableKeepAlives: true,
	}}
	resp, err := c.Get(target)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// serving waits for the proxy's first answer to anything, and gives the time from the
// machine's start to it. Qemu accepts at a door before anybody in the guest does.
func (d doors) serving(t *testing.T, g *guest) time.Duration {
	t.Helper()
	first := func() bool {
		c, err := net.DialTimeout("tcp", d.proxy, left(t))
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(left(t)))
		io.WriteString(c, "GET http://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\n\r\n")
		_, err = io.ReadFull(c, make([]byte, len("HTTP/1.1 403")))
		return err == nil
	}
	deadline, again := time.After(left(t)), time.NewTicker(200*time.Millisecond)
	defer again.Stop()
	for !first() {
		select {
		case <-again.C:
		case <-g.ended:
			t.Fatal("the machine ended before it served")
		case <-deadline:
			t.Fatal("the machine never served")
		}
	}
	return time.Since(g.start).Round(100 * time.Millisecond)
}

// resolve asks the machine's DNS filter, over TCP: qemu lets no UDP out of a network
// that is shut off, answers to what came in by a door neither.
func (d doors) resolve(t *testing.T, name string) *dns.Msg {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false) // the reason comes in an option
	c := dns.Client{Net: "tcp", Timeout: left(t)}
	reply, _, err := c.Exchange(q, d.names)
	require.NoError(t, err)
	return reply
}

// login asks the console for a page, and gives the status and the certificate's
// fingerprint.
func (d doors) login(t *testing.T, password string) (int, string) {
	t.Helper()
	c := http.Client{Timeout: left(t), Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, // the fingerprint is what is compared
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+d.console+"/readyz", nil)
	require.NoError(t, err)
	req.Host = "localhost"
	req.SetBasicAuth("admin", password)
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, fmt.Sprintf("%X", sha256.Sum256(resp.TLS.PeerCertificates[0].Raw))
}

// shown is the fingerprint that the screen shows from here on.
func (g *guest) shown() string {
	g.t.Helper()
	g.sees("SHA-256 ")
	text := g.sees("gate ")
	return strings.NewReplacer(":", "", "\n", "", " ", "").Replace(text)
}

const (
	password = "correct horse battery"
	settings = `
[listen]
proxy      = ["0.0.0.0:3128"]
dns        = ["0.0.0.0:53"]
admin      = "0.0.0.0:9080"
web_config = "web.yml"
[firewall]
manage = true
[addresses]
treat_as_public = ["10.0.2.100/32"]
[[dns.host]]
name      = "origin.example.org"
addresses = ["10.0.2.100"]
[log]
decisions = "/var/log/gatehouse/decisions.log"
`
	siteRules = `
version = 1
[[client]]
name = "test"
from = ["10.0.2.2"]
[[allow]]
name    = "origin"
clients = ["test"]
hosts   = ["origin.example.org"]
ports   = [80]
`
)

func indent(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ") }

var site = map[string]string{
	"meta-data": "instance-id: test-1\n",
	"user-data": "#cloud-config\nhostname: gate\ntimezone: Europe/London\npassword: " + password + "\nwrite_files:\n" +
		"  - path: /etc/gatehouse/gatehouse.toml\n    content: |\n      " + indent(settings) + "\n" +
		"  - path: /etc/gatehouse/rules.toml\n    content: |\n      " + indent(siteRules) + "\n",
	"network-config": "version: 2\nethernets:\n  eth0:\n    addresses: [10.0.2.50/24]\n    gateway4: 10.0.2.2\n    nameservers: {addresses: [10.0.2.3]}\n",
}

// serves holds the machine to what the site's rules say.
func (d doors) serves(t *testing.T) {
	t.Helper()
	allowed := d.ask(t, "http://origin.example.org/page")
	require.Equal(t, http.StatusOK, allowed.StatusCode)
	body, err := io.ReadAll(allowed.Body)
	require.NoError(t, err)
	require.Equal(t, "from the origin", string(body))
	refused := d.ask(t, "http://other.example.org/")
	require.Equal(t, http.StatusForbidden, refused.StatusCode)
	require.Contains(t, refused.Header.Get("Proxy-Status"), "host-not-listed")
	answer := d.resolve(t, "origin.example.org.")
	require.Len(t, answer.Answer, 1)
	require.Equal(t, "10.0.2.100", answer.Answer[0].(*dns.A).A.String())
	require.Contains(t, d.resolve(t, "other.example.org.").IsEdns0().String(), "host-not-listed")
}

func TestBootASeededMachineServesAndKeepsItsDataThroughSecureBoot(t *testing.T) {
	dir, scratch := image(t), t.TempDir()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "from the origin") }))
	defer origin.Close()
	net := network(t, "10.0.2.50", origin.Listener.Addr().String())
	data := disk(blankDisk(t, scratch), "")

	format := "raw"
	if all() {
		format = "qcow2"
	}
	var first string
	t.Run("direct kernel, a NoCloud seed and an empty data disk", func(t *testing.T) {
		g := boot(t, concat(direct(t, dir, format), data, disk(seedDisk(t, scratch, site), ",readonly=on"), net.args)...)
		t.Logf("serving after %s", net.serving(t, g))
		g.sees("gate        active; it answers\n")
		g.read = 0
		first = g.shown()
		net.serves(t)
		code, print := net.login(t, password)
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, first, print)
		code, _ = net.login(t, "another password")
		require.Equal(t, http.StatusUnauthorized, code)
		g.opensShell()
		require.Equal(t, "active", g.shell("systemctl is-active gatehouse"))
		require.Empty(t, g.shell("systemctl list-units --failed --no-legend --plain"))
		require.Equal(t, "0", g.shell("cat /proc/sys/net/ipv4/ip_forward"))
		rules := g.shell("nft list table inet gatehouse")
		require.Contains(t, rules, "hook input priority filter; policy drop;")
		require.Contains(t, rules, "hook forward priority filter; policy drop;")
		require.Contains(t, g.shell("grep ' / ' /proc/mounts"), "squashfs ro,")
		require.Equal(t, "10.0.2.50/24", g.shell("ip -4 -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 4"))
		require.NotEmpty(t, g.shell("grep -c origin.example.org /var/log/gatehouse/decisions.log"))
		pss, err := strconv.Atoi(g.shell("awk '/^Pss:/ { print $2 }' /proc/$(systemctl show --property MainPID --value gatehouse)/smaps_rollup"))
		require.NoError(t, err)
		t.Logf("memory: the gate %d kB, and of the machine:\n%s", pss, g.shell("head -n 3 /proc/meminfo"))
		require.Less(t, pss, 40_000, "an idle gate, in kB")
		g.types("systemctl poweroff")
		g.ends()
	})
	require.NotEmpty(t, first)
	t.Run("the next version's system disk, through shim, loader and signed kernel, without the seed", func(t *testing.T) {
		onlyInAll(t)
		next := os.Getenv("GATEHOUSE_NEXT_IMAGE")
		g := boot(t, concat(secure(t, next), data, net.args)...)
		t.Logf("serving after %s", net.serving(t, g))
		g.sees("gate        active; it answers\n")
		require.NotContains(t, g.text(), version(t, dir)+" on gate")
		require.Contains(t, g.text(), version(t, next)+" on gate")
		g.read = 0
		require.Equal(t, first, g.shown(), "the certificate of the first start")
		net.serves(t)
		code, _ := net.login(t, password)
		require.Equal(t, http.StatusOK, code)
		g.opensShell()
		require.Equal(t, "1", g.shell("tail -c 1 /sys/firmware/efi/efivars/SecureBoot-* | od -An -t u1 | tr -d ' '"))
		require.Contains(t, g.shell("cat /sys/kernel/security/lockdown"), "[integrity]")
		require.NotEqual(t, "0", g.shell("grep -c page /var/log/gatehouse/decisions.log"), "the decisions of the first start")
		g.types("exit")
		g.sees("Press Enter for the menu.")
		g.powerButton()
		g.ends()
	})
}

func TestBootAMachineWithoutASeedAsksOnItsScreen(t *testing.T) {
	onlyInAll(t)
	dir := image(t)
	net := network(t, "10.0.2.60", "127.0.0.78:9")
	g := boot(t, concat(direct(t, dir, "vmdk"), disk(blankDisk(t, t.TempDir()), ""), net.args)...)
	g.sees("eth0: 10.0.2.15/24")
	g.sees("gate        active; it answers\n")
	g.sees("Press Enter to begin.\n")
	for _, turn := range []struct{ question, answer string }{
		{"", ""}, {"or dhcp [dhcp]: ", "10.0.2.60/24"}, {"Router [none]: ", "10.0.2.2"}, {"spaces between [none]: ", "10.0.2.3"},
		{"machine [gatehouse]: ", "gate"}, {"Time zone [Europe/London]: ", ""}, {"[default]: ", ""},
		{"at least 10 characters: ", password}, {"Once more: ", password},
	} {
		g.sees(turn.question)
		g.types(turn.answer)
	}
	g.sees("put in force now.\n")
	g.sees("console     https://10.0.2.60:9080/")
	g.sees("gate        active; it answers\n")
	require.NotContains(t, g.text(), password, "what is typed is not shown")
	code, _ := net.login(t, password)
	require.Equal(t, http.StatusOK, code)
	refused := net.ask(t, "http://origin.example.org/")
	require.Equal(t, http.StatusForbidden, refused.StatusCode)
	require.Contains(t, refused.Header.Get("Proxy-Status"), "client-not-listed", "as set up, nobody may ask")
	g.types("")
	g.sees("> ")
	g.types("6")
	g.ends()
}

// opensShell goes by the menu to the shell.
func (g *guest) opensShell() {
	g.t.Helper()
	g.types("")
	g.sees("> ")
	g.types("4")
	g.sees("exit leads back.\n")
	// Without line editing and prompt, the serial line shows what is typed as it is.
	g.types("set +o emacs; PS1=; echo rea''dy")
	g.sees("ready\n")
}

func concat(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
