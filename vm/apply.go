package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/internal/wholefile"
)

// Machine is where everything lies and how the system is spoken to.
type Machine struct {
	Settings string   // machine.yaml, on the data disk
	Gate     string   // the folder of gatehouse.toml, on the data disk
	Run      string   // what holds until the next start; the screen reads its troubles
	Network  string   // systemd-networkd's folder for this start
	Time     string   // systemd-timesyncd's
	Forward  []string // the kernel's switches for routing, IPv4 and IPv6

	// Seed gives the files of the seed disk by name; nil where there is none.
	Seed func(ctx context.Context) (map[string][]byte, error)
	// Own gives a file to the gate's user and group (write true) or lets its group
	// read it.
	Own func(path string, write bool) error
	// Command runs a program of the system and gives its standard output.
	Command func(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error)
	Rename  func(hostname string) error
	// Addresses are those of an adapter that others can use.
	Addresses    func(adapter string) []string
	Synchronized string // a file that is there once the clock was set
	Version      string // a file that holds the image's version
	Now          func() time.Time
	Log          io.Writer
}

// Apply makes the system what the settings say: those on the data disk, or those of
// a seed that has not been seen before. Until the firewall stands there is no error
// that it goes past: the network waits for Apply, and comes up only after success.
func (m *Machine) Apply(ctx context.Context) (err error) {
	defer func() { m.trouble("settings", err) }()
	s, told, err := loadSettings(m.Settings)
	if err != nil {
		return fmt.Errorf("the machine's settings cannot be read: %w; set it up anew on the screen", err)
	}
	if s, err = m.sow(ctx, s, told); err != nil {
		// A seed that cannot be used changes nothing: what held, holds.
		m.trouble("seed", err)
	} else {
		m.trouble("seed", nil)
	}
	if err := m.door(s); err != nil {
		return fmt.Errorf("the console's login and certificate: %w", err)
	}
	if err := m.firewall(ctx, s); err != nil {
		return fmt.Errorf("the firewall: %w", err)
	}
	return m.network(s)
}

// sow takes a seed whose instance-id is new, and keeps what it says.
func (m *Machine) sow(ctx context.Context, s Settings, told bool) (Settings, error) {
	files, err := m.Seed(ctx)
	if err != nil || files == nil {
		return s, err
	}
	seed, err := parseSeed(files["meta-data"], files["user-data"], files["network-config"])
	if err != nil {
		return s, err
	}
	if told && seed.Settings.Instance == s.Instance {
		return s, nil
	}
	for _, what := range seed.Ignored {
		fmt.Fprintf(m.Log, "seed: not done here: %s\n", what)
	}
	next := seed.Settings
	if seed.Password != "" {
		if next.Login, err = hashPassword(seed.Password); err != nil {
			return s, err
		}
	}
	if next.Login == "" {
		next.Login = s.Login
	}
	for name, text := range seed.Files {
		if err := m.gateFile(name, []byte(text), 0o640, name == "rules.toml"); err != nil {
			return s, err
		}
	}
	return next, next.save(m.Settings)
}

// gateFile writes one of the gate's files; the gate itself may change it where write
// is true.
func (m *Machine) gateFile(name string, text []byte, mode fs.FileMode, write bool) error {
	path := filepath.Join(m.Gate, name)
	if err := wholefile.Replace(path, text, wholefile.Mode(mode)); err != nil {
		return err
	}
	return m.Own(path, write)
}

// door writes the console's login, and its certificate where that is due.
func (m *Machine) door(s Settings) error {
	if err := ensureCertificate(m.Gate, s, m.Now()); err != nil {
		return err
	}
	text, err := webConfig(s.Login)
	if err != nil {
		return err
	}
	return errors.Join(
		m.Own(filepath.Join(m.Gate, keyFile), false),
		m.gateFile(loginFile, []byte(text), 0o640, false),
	)
}

// closed is the firewall of a gate whose own ruleset cannot be had: the same table,
// so that the gate replaces it once it can. Protocols 1 and 58 are ICMP and ICMPv6: by
// their names it would need a file that may be missing.
const closed = `add table inet gatehouse
delete table inet gatehouse
table inet gatehouse {
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ct state established,related accept
		meta l4proto { 1, 58 } accept
		udp dport { 68, 546 } accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
`

// firewall loads the gate's ruleset before there is a network, and lets the machine
// route, if it is to, after that.
func (m *Machine) firewall(ctx context.Context, s Settings) error {
	rules, err := m.Command(ctx, nil, "gatehouse", "nft", "--config", filepath.Join(m.Gate, "gatehouse.toml"))
	if err == nil {
		_, err = m.Command(ctx, strings.NewReader(rules), "nft", "-f", "-")
	}
	m.trouble("firewall", err)
	if err != nil {
		if _, err := m.Command(ctx, strings.NewReader(closed), "nft", "-f", "-"); err != nil {
			return err
		}
	}
	value := "0\n"
	if s.routes() {
		value = "1\n"
	}
	for _, path := range m.Forward {
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// network writes what networkd, timesyncd and the gate's unit read.
func (m *Machine) network(s Settings) error {
	if err := m.Rename(s.Hostname); err != nil {
		return err
	}
	if err := m.clear(m.Network); err != nil {
		return err
	}
	for _, name := range s.names() {
		if err := put(m.Network, prefix+name+".network", networkFile(name, s.Adapters[name])); err != nil {
			return err
		}
	}
	if err := m.clear(m.Time); err != nil {
		return err
	}
	if text := timeFile(s.NTP); text != "" {
		if err := put(m.Time, prefix+"servers.conf", text); err != nil {
			return err
		}
	}
	return put(m.Run, "environment", "TZ="+s.TimeZone+"\n")
}

// prefix begins the names of the files that we write among those of others.
const prefix = "10-gatehouse-"

// clear takes away what an earlier call wrote.
func (m *Machine) clear(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func put(dir, name, text string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return wholefile.Replace(filepath.Join(dir, name), []byte(text), wholefile.Mode(0o644))
}

// trouble keeps a sentence for the screen; nil takes it away.
func (m *Machine) trouble(about string, err error) {
	name := "trouble-" + about
	if err == nil {
		os.Remove(filepath.Join(m.Run, name))
		return
	}
	fmt.Fprintf(m.Log, "%s: %v\n", about, err)
	if err := put(m.Run, name, err.Error()+"\n"); err != nil {
		fmt.Fprintln(m.Log, err)
	}
}

// troubles are the sentences kept, in order.
func (m *Machine) troubles() []string {
	paths, _ := filepath.Glob(filepath.Join(m.Run, "trouble-*"))
	var list []string
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			about := strings.TrimPrefix(filepath.Base(path), "trouble-")
			list = append(list, about+": "+strings.TrimSpace(string(text)))
		}
	}
	return list
}
