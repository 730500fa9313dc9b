package vm

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// adminPort is where the image's gatehouse.toml has the console.
const adminPort = "9080"

// Status is what the screen shows.
type Status struct {
	Version, Hostname string
	Told              bool     // the machine has been set up
	Adapters          []string // with their addresses
	Console           []string // where to reach it
	Fingerprint       [2]string
	Gate, Firewall    string
	Clock             string
	Troubles          []string
}

// status asks the system. What cannot be learnt is told as that.
func (m *Machine) status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, told, err := loadSettings(m.Settings)
	st := Status{Version: m.version(), Hostname: s.Hostname, Told: told && s.Login != "", Troubles: m.troubles()}
	if err != nil {
		st.Troubles = append(st.Troubles, "settings: "+err.Error())
	}
	for _, name := range s.names() {
		st.adapter(name, m.Addresses(name))
	}
	if st.Fingerprint, err = fingerprint(m.Gate); err != nil {
		st.Troubles = append(st.Troubles, "certificate: "+err.Error())
	}
	st.Gate = m.gate(ctx)
	st.Firewall = "not loaded"
	if _, err := m.Command(ctx, nil, "nft", "list", "table", "inet", "gatehouse"); err == nil {
		st.Firewall = "loaded"
	}
	st.Clock = m.clock(s.TimeZone)
	return st
}

func (st *Status) adapter(name string, addresses []string) {
	if len(addresses) == 0 {
		st.Adapters = append(st.Adapters, name+": no address yet")
		return
	}
	st.Adapters = append(st.Adapters, name+": "+strings.Join(addresses, ", "))
	for _, a := range addresses {
		host, _, _ := strings.Cut(a, "/")
		st.Console = append(st.Console, "https://"+net.JoinHostPort(host, adminPort)+"/")
	}
}

// gate is systemd's word for the real unit, and whether the gate answers.
func (m *Machine) gate(ctx context.Context) string {
	word, _ := m.Command(ctx, nil, "systemctl", "is-active", "gatehouse") // it fails where it is anything but active
	word = strings.TrimSpace(word)
	if word != "active" {
		return word + "; nothing is let through"
	}
	if _, err := m.Command(ctx, nil, "gatehouse", "healthcheck"); err != nil {
		return word + "; it does not answer"
	}
	return word + "; it answers"
}

func (m *Machine) clock(zone string) string {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		loc = time.UTC
	}
	sync := "not yet set by a time server"
	if _, err := os.Stat(m.Synchronized); err == nil {
		sync = "set by a time server"
	}
	return m.Now().In(loc).Format("2006-01-02 15:04 MST") + ", " + sync
}

func (m *Machine) version() string {
	text, err := os.ReadFile(m.Version)
	if err != nil {
		return "of an unknown version"
	}
	return strings.TrimSpace(string(text))
}

// systemAddresses are the addresses of an adapter that others can use.
func systemAddresses(name string) []string {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	list, _ := i.Addrs()
	var out []string
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.String())
		}
	}
	return out
}

// String is the status as lines of at most 80 columns, but for troubles.
func (st Status) String() string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "  %-11s %s\n", key, value) }
	fmt.Fprintf(&b, "\ngatehouse %s on %s\n\n", st.Version, st.Hostname)
	for _, a := range st.Adapters {
		line("network", a)
	}
	for _, c := range st.Console {
		line("console", c+" (user admin)")
	}
	if st.Fingerprint[0] != "" {
		line("certificate", "SHA-256 "+st.Fingerprint[0])
		line("", "        "+st.Fingerprint[1])
	}
	line("gate", st.Gate)
	line("firewall", st.Firewall)
	line("clock", st.Clock)
	for _, t := range st.Troubles {
		line("TROUBLE", t)
	}
	if st.Told {
		b.WriteString("\nPress Enter for the menu.\n")
	} else {
		b.WriteString("\nThis machine has not been set up. Press Enter to begin.\n")
	}
	return b.String()
}

// changed reports whether there is something new to show; the minute is not.
func (st Status) changed(before string) (string, bool) {
	st.Clock = strings.TrimLeft(st.Clock, "0123456789-: ")
	now := st.String()
	return now, now != before
}

// dataThere reports whether there is anything to keep settings in.
func (m *Machine) dataThere() bool {
	_, err := os.Stat(filepath.Dir(m.Settings) + "/etc")
	return err == nil
}
