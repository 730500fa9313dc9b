package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is one thing to measure: a program, or the straight way.
type target struct {
	name string
	is   string // what it is and how it is set up, for the reader
	// binary is looked up in PATH; empty: always there.
	binary string
	// version prints the version in the first line of its output.
	version []string
	// prepare writes what the program needs into dir, and returns the command;
	// nil: there is no program. It listens on the ports of setup.
	prepare func(setup) (command, error)
	// skips are scenarios that it cannot run, by key, with the reason; an empty one
	// goes without saying.
	skips map[string]string
	// list is the file with its names, to which a comment may be added.
	list string
	// asked and unlisted are host names in place of the site's, for a program that
	// cannot resolve those.
	asked, unlisted string
	refusal         int  // status of its refusals; 0: 403
	straight        bool // no proxy: joins each connection to the origin
	bumps           bool // tunnels that are looked into have a port of their own
}

// setup is what a program is to be set up with.
type setup struct {
	dir, binary  string
	http, tunnel string   // addresses for it to listen on; a proxy needs the second only for redirected connections
	names        string   // where it answers clients for names, if it does
	hosts        []string // names to allow
	inspect      bool     // it is to look inside TLS too
	site         *site
}

type command struct {
	argv, env []string
}

// instance is a target that runs.
type instance struct {
	target  *target
	program *program // nil for the straight way
	route   route
	dir     string        // with the files of the program
	started time.Duration // from exec to the first answered request
}

func (i *instance) stop() { i.program.stop() }

// start runs a target with so many names in its list, and waits until it answers.
// It looks inside TLS only where inspect is set: reading whom the system trusts takes
// long, and memory, and whoever does not ask for it does not pay for it.
func (t *target) start(ctx context.Context, s *site, dir string, cpu, names int, inspect bool) (*instance, error) {
	i := &instance{target: t, route: t.route(s)}
	if t.prepare == nil {
		return i, nil
	}
	dir, err := os.MkdirTemp(dir, strings.NewReplacer(" ", "-", "/", "-").Replace(t.name)+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // for programs that drop to another user
		return nil, err
	}
	ports, err := freePorts(proxyAddress, 3)
	if err != nil {
		return nil, err
	}
	i.route.http, i.route.tunnel = ports[0], ports[1]
	if i.route.proxy {
		i.route.tunnel = i.route.http
	}
	i.dir, i.route.inspect = dir, ports[0]
	i.route.redirected, i.route.names = ports[1], ports[2]
	if t.bumps {
		i.route.inspect = ports[1]
	}
	c, err := t.prepare(setup{dir: dir, binary: t.binary, http: ports[0], tunnel: ports[1], names: ports[2], hosts: hostNames(i.route.name, names), inspect: inspect, site: s})
	if err != nil {
		return nil, fmt.Errorf("setting up %s: %w", t.name, err)
	}
	began := time.Now()
	if i.program, err = launch(dir, cpu, c.env, c.argv...); err != nil {
		return nil, fmt.Errorf("starting %s: %w", t.name, err)
	}
	if err := i.awaitAnswer(ctx); err != nil {
		i.stop()
		return nil, err
	}
	i.started = time.Since(began)
	return i, nil
}

func (t *target) route(s *site) route {
	return route{
		http: s.http.String(), tunnel: s.tunnel.String(), proxy: t.prepare != nil && !t.straight,
		name: cmp.Or(t.asked, originName), denied: cmp.Or(t.unlisted, deniedName),
		refusal: cmp.Or(t.refusal, http.StatusForbidden), site: s,
	}
}

// startPatience bounds a start, also with the long list.
const startPatience = 20 * time.Second

// awaitAnswer asks until the first 200.
func (i *instance) awaitAnswer(ctx context.Context) error {
	request := i.route.request("GET", i.route.name, "/small", "")
	last := ""
	for until := time.Now().Add(startPatience); time.Now().Before(until) && ctx.Err() == nil && i.program.running(); {
		s := &session{route: i.route}
		status, err := s.exchange(request, until)
		s.close()
		if err == nil && status == 200 {
			return nil
		}
		last = fmt.Sprintf("status %d, error %v", status, err)
		time.Sleep(200 * time.Microsecond)
	}
	return fmt.Errorf("%s did not answer (%s): %s", i.target.name, last, i.program.said())
}

// hostNames is a list of n names with the one that is asked for in its middle,
// where a program that walks its list pays the mean.
func hostNames(asked string, n int) []string {
	names := make([]string, 0, n)
	for i := range n {
		if i == n/2 {
			names = append(names, asked)
			continue
		}
		names = append(names, fmt.Sprintf("host-%06d.example.net", i))
	}
	return names
}

// What is measured listens on addresses that nothing else on the machine uses,
// so that a port that was free stays so until the program takes it.
const (
	proxyAddress = "127.0.0.80"
	adminAddress = "127.0.0.81"
)

// freePorts are addresses of host that nobody listens on.
func freePorts(host string, n int) ([]string, error) {
	var found []string
	for range n {
		ln, err := net.Listen("tcp", host+":0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		found = append(found, ln.Addr().String())
	}
	return found, nil
}

// installed drops the targets whose program is not on this machine or not in
// only.
func installed(all []*target, only string) []*target {
	wanted := list(only)
	return slices.DeleteFunc(all, func(t *target) bool {
		if len(wanted) > 0 && !slices.Contains(wanted, t.name) {
			return true
		}
		if t.binary == "" {
			return false
		}
		path, err := lookPath(t.binary)
		t.binary = path
		return err != nil
	})
}

// lookPath also looks where Debian puts daemons.
func lookPath(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func list(s string) []string {
	var items []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// writeFiles writes a program's files into its folder, readable by all.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func port(a *net.TCPAddr) string { return strconv.Itoa(a.Port) }
