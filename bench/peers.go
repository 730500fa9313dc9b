package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// targets are the columns of the table, gatehouse first. The peers run as cheaply
// as they can: no access log, no cache.
func targets(gatehouse string) []*target {
	self, _ := os.Executable()
	list := []*target{
		{
			name: "gatehouse", is: "decisions logged to a file as JSON, metrics on, names asked of a name server and cached",
			version: []string{gatehouse, "version"},
			prepare: func(s setup) (command, error) { return prepareGatehouse(gatehouse, s) }, list: "rules.toml",
		}, {
			name: "squid", is: "Debian's; one worker, no cache, no access log, names from a hosts file",
			binary: "squid", version: []string{"squid", "-v"}, prepare: prepareSquid, list: "names", bumps: true, skips: squidSkips(),
		}, {
			name: "trafficserver", is: "Debian's; a remap line for each name, one event thread, no cache, no log",
			binary: "traffic_server", version: []string{"traffic_server", "--version"}, refusal: http.StatusNotFound,
			prepare: func(s setup) (command, error) { return prepareTrafficserver(s, true) },
			skips: map[string]string{
				"connect": "with a list of hosts this setup has no CONNECT; see trafficserver open",
				"bulk-1":  "", "bulk-8": "", "idle": "",
			},
		}, {
			name: "trafficserver open", is: "the same without any list of hosts, for its tunnels",
			binary:  "traffic_server",
			prepare: func(s setup) (command, error) { return prepareTrafficserver(s, false) },
			skips:   map[string]string{"refuse": "it has no list", "names": "it has no list", "start": ""},
		}, {
			name: "tinyproxy", is: "Debian's; a filter that denies by default, no log, asked for an address because it uses the system's names",
			binary: "tinyproxy", version: []string{"tinyproxy", "-v"}, prepare: prepareTinyproxy,
			asked: originAddress, unlisted: "127.0.0.9",
		}, {
			name: "net/http", is: "a plain proxy of net/http and httputil.ReverseProxy, tunnels by io.Copy, a map of names, no log, no checks",
			prepare: func(s setup) (command, error) { return prepareOwn(self, "plain", s) },
		}, {
			name: "relay", is: "two io.Copy between two sockets: knows no HTTP, refuses nothing",
			straight: true, prepare: func(s setup) (command, error) { return prepareOwn(self, "relay", s) },
			skips: map[string]string{"refuse": "it refuses nothing", "names": "it has no list"},
		}, {
			name: "direct", is: "client and origin without anything between: there is no program whose time could be measured",
			skips: map[string]string{
				"get": "", "get-new": "", "connect": "", "bulk-1": "", "bulk-8": "",
				"refuse": "", "idle": "", "names": "", "start": "",
			},
		},
	}
	for _, t := range list[2:] { // they do not look inside TLS, or not so, and read nothing again when told by a signal
		if t.skips == nil {
			t.skips = map[string]string{}
		}
		t.skips["inspect"], t.skips["inspect-new"], t.skips["reload"] = "", "", ""
	}
	for _, t := range list {
		if t.skips == nil {
			t.skips = map[string]string{}
		}
		if t.name != "gatehouse" && t.name != "relay" { // the others are asked, or not at all
			t.skips["gateway"] = ""
		} else if why := cannotRedirect(); why != "" {
			t.skips["gateway"] = why
		}
	}
	return list
}

// squidSkips are the scenarios that the squid of this machine cannot run.
func squidSkips() map[string]string {
	if squidBumps() {
		return nil
	}
	const why = "it is built without OpenSSL; Debian's squid-openssl is built with it"
	return map[string]string{"inspect": why, "inspect-new": why}
}

// squidBumps reports whether the squid of this machine can look inside TLS.
func squidBumps() bool {
	path, err := lookPath("squid")
	if err != nil {
		return false
	}
	said, err := exec.Command(path, "-v").Output()
	return err == nil && strings.Contains(string(said), "--with-openssl") && isFile(squidCertgen)
}

// squidCertgen makes squid's certificates, in a process of its own.
const squidCertgen = "/usr/lib/squid/security_file_certgen"

func quoted(names []string) string { return `"` + strings.Join(names, "\",\n  \"") + `"` }

func prepareGatehouse(bin string, s setup) (command, error) {
	admin, err := freePorts(adminAddress, 1)
	if err != nil {
		return command{}, err
	}
	inspection, rule := gatehouseInspection(s)
	err = writeFiles(s.dir, map[string]string{
		"gatehouse.toml": fmt.Sprintf(`[listen]
proxy = [%q]
gateway = [%q]
dns   = [%q]
admin = %q
[dns]
upstreams = [%q]
[addresses]
treat_as_public = ["127.0.0.0/8"]
[log]
decisions = "state/decisions.json"
[limits]
per_client = 20000
[state]
dir = "state"
%s`, s.http, s.tunnel, s.names, admin[0], s.site.dns, inspection),
		"origin.pem": string(s.site.identity.certPEM),
		"rules.toml": fmt.Sprintf(`version = 1
[[allow]]
name     = "pages"
hosts    = [%s]
ports    = [%d]
protocol = "http"
because  = "benchmark"
[[allow]]
name     = "tunnels"
hosts    = [%q]
ports    = [%d]
protocol = "tcp"
because  = "benchmark"
%s`, quoted(s.hosts), s.site.http.Port, originName, s.site.tunnel.Port, rule),
	})
	config := filepath.Join(s.dir, "gatehouse.toml")
	if err == nil && s.inspect {
		err = makeAuthority(bin, config, s.dir)
	}
	return command{argv: []string{bin, "run", "--config", config}}, err
}

// gatehouseInspection is what its configuration and its rules have besides, where it
// looks inside TLS.
func gatehouseInspection(s setup) (config, rule string) {
	if !s.inspect {
		return "", ""
	}
	return `[inspection]
enabled = true
[tls]
ca_file = "origin.pem"
`, fmt.Sprintf(`[[allow]]
name     = "inspected"
hosts    = [%q]
ports    = [%d]
protocol = "tls"
methods  = ["GET"]
because  = "benchmark"
`, originName, s.site.https.Port)
}

// makeAuthority makes gatehouse's inspection CA and writes its certificate where the
// load finds it.
func makeAuthority(bin, config, dir string) error {
	for _, args := range [][]string{{"init"}, {"export", "--out", filepath.Join(dir, trustFile)}} {
		if err := runQuietly(bin, append([]string{"ca", args[0], "--config", config}, args[1:]...)...); err != nil {
			return err
		}
	}
	return nil
}

// runQuietly runs a program to its end; the error has what it said.
func runQuietly(argv0 string, args ...string) error {
	if said, err := exec.Command(argv0, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(argv0), strings.Join(args, " "), err, said)
	}
	return nil
}

// squidBump is the part of squid's configuration that looks inside TLS: it asks
// for the origin's certificate first and makes one like it, as ssl_bump is meant.
func squidBump(s setup) (string, error) {
	ca, err := newKeyPair("squid's inspection CA", true)
	if err != nil {
		return "", err
	}
	err = writeFiles(s.dir, map[string]string{
		trustFile: string(ca.certPEM), "bump.pem": string(ca.certPEM) + string(ca.keyPEM), "origin.pem": string(s.site.identity.certPEM),
	})
	if err == nil {
		err = runQuietly(squidCertgen, "-c", "-s", filepath.Join(s.dir, "certificates"), "-M", "4MB")
	}
	return fmt.Sprintf(`http_port %[1]s ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert=%[2]s/bump.pem
sslcrtd_program %[3]s -s %[2]s/certificates -M 4MB
sslcrtd_children 1
acl first at_step SslBump1
ssl_bump peek first
ssl_bump bump all
tls_outgoing_options cafile=%[2]s/origin.pem
`, s.tunnel, s.dir, squidCertgen), err
}

func prepareSquid(s setup) (command, error) {
	bump := ""
	if s.inspect && squidBumps() {
		var err error
		if bump, err = squidBump(s); err != nil {
			return command{}, err
		}
	}
	err := writeFiles(s.dir, map[string]string{
		"names": strings.Join(s.hosts, "\n") + "\n",
		"hosts": originAddress + " " + originName + "\n",
		"squid.conf": fmt.Sprintf(`http_port %s
acl names dstdomain "%s/names"
acl site port %s %s %[6]s
http_access allow names site
http_access deny all
hosts_file %[2]s/hosts
cache deny all
access_log none
cache_store_log none
cache_log /dev/null
pid_filename none
netdb_filename none
coredump_dir none
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname bench.example.org
max_filedescriptors %[5]d
%[7]s`, s.http, s.dir, port(s.site.http), port(s.site.tunnel), descriptorLimit, port(s.site.https), bump),
	})
	return command{argv: []string{s.binary, "-N", "-f", filepath.Join(s.dir, "squid.conf")}}, err
}

func prepareTinyproxy(s setup) (command, error) {
	var filter strings.Builder
	for _, name := range s.hosts {
		fmt.Fprintf(&filter, "^%s$\n", strings.ReplaceAll(name, ".", `\.`))
	}
	err := writeFiles(s.dir, map[string]string{
		"filter": filter.String(),
		"tinyproxy.conf": fmt.Sprintf(`Port %s
Listen `+proxyAddress+`
Timeout 600
MaxClients %d
Allow 127.0.0.1
LogLevel Critical
LogFile "%s/log"
Filter "%[3]s/filter"
FilterDefaultDeny Yes
ConnectPort %s
`, portOf(s.http), descriptorLimit, s.dir, port(s.site.tunnel)),
	})
	return command{argv: []string{s.binary, "-d", "-c", filepath.Join(s.dir, "tinyproxy.conf")}}, err
}

// prepareOwn starts one of the bench's own programs, by its role.
func prepareOwn(self, role string, s setup) (command, error) {
	err := writeFiles(s.dir, map[string]string{"names": strings.Join(s.hosts, "\n")})
	return command{
		argv: []string{self, s.http, s.tunnel, s.site.http.String(), s.site.tunnel.String(), filepath.Join(s.dir, "names")},
		env:  []string{roleVariable + "=" + role},
	}, err
}

// prepareTrafficserver lays out a folder for it (a "runroot"). With a list, each
// name is a line of remap.config and nothing else is carried; in this setup that
// excludes CONNECT.
func prepareTrafficserver(s setup, list bool) (command, error) {
	mapped, required := "", 0
	if list {
		var lines strings.Builder
		for _, name := range s.hosts {
			fmt.Fprintf(&lines, "map http://%s:%d/ http://%s/\n", name, s.site.http.Port, s.site.http)
		}
		mapped, required = lines.String(), 1
	}
	var root strings.Builder
	for _, line := range [][2]string{
		{"prefix", "/usr"}, {"exec_prefix", "/usr"}, {"bindir", "/usr/bin"}, {"sbindir", "/usr/sbin"},
		{"datadir", "/usr/share/trafficserver"}, {"includedir", "/usr/include"},
		{"libdir", "/usr/lib/trafficserver"}, {"libexecdir", "/usr/lib/trafficserver/modules"},
		{"sysconfdir", s.dir + "/conf"}, {"localstatedir", s.dir + "/run"}, {"runtimedir", s.dir + "/run"},
		{"logdir", s.dir + "/log"}, {"cachedir", s.dir + "/cache"},
	} {
		fmt.Fprintf(&root, "%s: %s\n", line[0], line[1])
	}
	err := writeFiles(s.dir, map[string]string{
		"runroot.yaml":        root.String(),
		"hosts":               originAddress + " " + originName + "\n",
		"conf/remap.config":   mapped,
		"conf/storage.config": "",
		"conf/ip_allow.yaml":  "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n",
		"run/.keep":           "", "log/.keep": "", "cache/.keep": "",
		"conf/records.config": fmt.Sprintf(`CONFIG proxy.config.http.server_ports STRING %s:ip-in=`+proxyAddress+`
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.url_remap.remap_required INT %d
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.http.connect_ports STRING %s
CONFIG proxy.config.hostdb.host_file.path STRING %s/hosts
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.net.connections_throttle INT %d
CONFIG proxy.config.crash_log_helper STRING NULL
`, portOf(s.http), required, port(s.site.tunnel), s.dir, descriptorLimit),
	})
	return command{argv: []string{s.binary, "--run-root=" + s.dir}}, err
}
