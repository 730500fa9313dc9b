package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is one that is measured.
type program struct {
	name    string
	command string
	// prepare writes its files into dir and gives its arguments.
	prepare func(s site, dir string, port, upstream int) ([]string, error)
	ready   func(server netip.AddrPort) error
}

func (p program) installed() bool {
	_, err := exec.LookPath(p.command)
	return err == nil
}

func programs(gatehouse string) []program {
	return []program{
		{"gatehouse", gatehouse, gatehouseWithDNS, answers},
		{"unbound", "unbound", prepareUnbound, answers},
		{"dnsmasq", "dnsmasq", prepareDnsmasq, answers},
	}
}

// withoutDNS is gatehouse with the same rules and no DNS listener: what the DNS
// room adds to the process is the difference.
func withoutDNS(gatehouse string) program {
	return program{"gatehouse without DNS", gatehouse, gatehouseWithoutDNS, accepts}
}

// site is what a measured program has to know.
type site struct {
	names int // that are permitted
}

// permitted are the names of the site: those that are asked for, and as many
// others as it takes.
func (s site) permitted() []string {
	list := []string{plainName, busName}
	for c := range clients {
		for n := range uncachedNames {
			if len(list) < s.names {
				list = append(list, uncached(c, n))
			}
		}
	}
	for i := 0; len(list) < s.names; i++ {
		list = append(list, fmt.Sprintf("n%d.further.example", i))
	}
	return list
}

func gatehouseWithDNS(s site, dir string, port, upstream int) ([]string, error) {
	return prepareGatehouse(s, dir, "127.0.0.1:0", fmt.Sprintf(`"127.0.0.1:%d"`, port), upstream)
}

func gatehouseWithoutDNS(s site, dir string, port, upstream int) ([]string, error) {
	return prepareGatehouse(s, dir, fmt.Sprintf("127.0.0.1:%d", port), "", upstream)
}

func prepareGatehouse(s site, dir, proxy, listen string, upstream int) ([]string, error) {
	rules := "version = 1\n[[allow]]\nname = \"bench\"\naddresses = \"northeurope\"\nhosts = [\"" +
		strings.Join(s.permitted(), "\",\n\"") + "\"]\n"
	config := fmt.Sprintf(`[listen]
proxy = [%q]
admin = "127.0.0.1:0"
dns = [%s]
[dns]
upstreams = ["127.0.0.1:%d"]
[log]
level = "error"
decisions = "decisions.log"
[state]
dir = "state"
`, proxy, listen, upstream)
	return []string{"run", "--config", filepath.Join(dir, "gatehouse.toml")}, write(dir, map[string]string{
		"rules.toml": rules, "gatehouse.toml": config,
	})
}

func prepareUnbound(s site, dir string, port, upstream int) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  interface: 127.0.0.1@%d
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  do-daemonize: no
  do-not-query-localhost: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  logfile: "%s/unbound.log"
  module-config: "iterator"
  local-zone: "." refuse
  local-zone: "trafficmanager.example" transparent
  local-zone: "cloudapp.example" transparent
`, port, dir)
	for _, name := range s.permitted() {
		fmt.Fprintf(&b, "  local-zone: %q transparent\n", name)
	}
	fmt.Fprintf(&b, "forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@%d\n", upstream)
	return []string{"-d", "-c", filepath.Join(dir, "unbound.conf")}, write(dir, map[string]string{"unbound.conf": b.String()})
}

func prepareDnsmasq(s site, dir string, port, upstream int) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "port=%d\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nkeep-in-foreground\npid-file=\nuser=\ncache-size=10000\ndns-forward-max=1000\n", port)
	for _, name := range append(s.permitted(), "trafficmanager.example", "cloudapp.example") {
		fmt.Fprintf(&b, "server=/%s/127.0.0.1#%d\n", name, upstream)
	}
	return []string{"-C", filepath.Join(dir, "dnsmasq.conf")}, write(dir, map[string]string{"dnsmasq.conf": b.String()})
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
