package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/wholefile"
)

// Settings are what the machine was told about itself. They lie on the data disk as
// machine.yaml; the gate's own settings are gatehouse.toml and rules.toml.
type Settings struct {
	// Instance is the instance-id of the seed they came from; empty: the screen.
	Instance string `yaml:"instance,omitempty"`
	Hostname string `yaml:"hostname"`
	// TimeZone is an IANA name; empty is UTC.
	TimeZone string `yaml:"timezone,omitempty"`
	// NTP are names or addresses of time servers; empty: DHCP's, then Debian's.
	NTP []string `yaml:"ntp,omitempty"`
	// Adapters are the network adapters by the kernel's name: eth0 is the first. With
	// more than one the machine stands between two networks, and routes.
	Adapters map[string]Adapter `yaml:"adapters"`
	// Login is the bcrypt hash of the console's password, for the user admin; empty:
	// nobody can log in.
	Login string `yaml:"login,omitempty"`
}

// Adapter is one network adapter. IPv6 addresses also come by router advertisement.
type Adapter struct {
	DHCP      bool           `yaml:"dhcp,omitempty"`
	MAC       string         `yaml:"mac,omitempty"` // chooses the adapter, in place of its name
	Addresses []netip.Prefix `yaml:"addresses,omitempty"`
	Routers   []netip.Addr   `yaml:"routers,omitempty"`
	DNS       []netip.Addr   `yaml:"dns,omitempty"`
	Search    []string       `yaml:"search,omitempty"`
}

// unset is how a machine behaves that was told nothing: it asks DHCP, and lets
// nobody in.
func unset() Settings {
	return Settings{Hostname: "gatehouse", Adapters: map[string]Adapter{"eth0": {DHCP: true}}}
}

// loadSettings reads machine.yaml; told is false where there is none.
func loadSettings(path string) (s Settings, told bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return unset(), false, nil
	}
	if err != nil {
		return unset(), false, err
	}
	if err := yaml.UnmarshalStrict(text, &s); err != nil {
		return unset(), false, fmt.Errorf("%s: %w", path, err)
	}
	if err := s.Check(); err != nil {
		return unset(), false, fmt.Errorf("%s: %w", path, err)
	}
	return s, true, nil
}

// save writes s whole or not at all: readable by root only.
func (s Settings) save(path string) error {
	if err := s.Check(); err != nil {
		return err
	}
	text, err := yaml.Marshal(s)
	if err != nil {
		return err
	}
	return wholefile.Replace(path, text, wholefile.Mode(0o600))
}

var (
	// label is one part of a host name (RFC 1123 section 2.1).
	label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	// adapterName is what Linux calls an adapter; nothing that means something to systemd.
	adapterName = regexp.MustCompile(`^[a-z][a-z0-9]{0,14}$`)
	macAddress  = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)
)

func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	return !slices.ContainsFunc(strings.Split(s, "."), func(l string) bool { return !label.MatchString(l) })
}

// Check says what cannot be taken. What it lets through can be written into
// systemd's files as it is.
func (s Settings) Check() error {
	if !isHostName(s.Hostname) || len(s.Hostname) > 64 {
		return fmt.Errorf("%q is no host name: letters, digits, hyphens and dots, at most 64", s.Hostname)
	}
	if err := checkZone(s.TimeZone); err != nil {
		return err
	}
	for _, server := range s.NTP {
		if addr, err := netip.ParseAddr(server); (err != nil || addr.Zone() != "") && !isHostName(server) {
			return fmt.Errorf("time server %q is neither a name nor an address", server)
		}
	}
	if s.Login != "" {
		if _, err := bcrypt.Cost([]byte(s.Login)); err != nil {
			return fmt.Errorf("the login is no bcrypt hash: %w", err)
		}
	}
	if len(s.Adapters) == 0 {
		return errors.New("no network adapter is named")
	}
	for name, a := range s.Adapters {
		if err := a.check(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkZone(zone string) error {
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return fmt.Errorf("%q is no time zone: write an IANA name, like Europe/London", zone)
	}
	return nil
}

func (a Adapter) check(name string) error {
	if !adapterName.MatchString(name) {
		return errors.New("no name of an adapter; the first one is eth0")
	}
	if a.MAC != "" && !macAddress.MatchString(a.MAC) {
		return fmt.Errorf("%q is no hardware address", a.MAC)
	}
	if !a.DHCP && len(a.Addresses) == 0 {
		return errors.New("it has neither an address nor DHCP")
	}
	for _, p := range a.Addresses {
		if !p.IsValid() || !p.Addr().IsGlobalUnicast() || p.Addr().Zone() != "" || p.Addr().Is4In6() {
			return fmt.Errorf("%s cannot be the address of a machine", p)
		}
	}
	for _, r := range a.Routers {
		if !r.IsValid() || r.Zone() != "" || !(r.IsLinkLocalUnicast() || slices.ContainsFunc(a.Addresses, func(p netip.Prefix) bool { return p.Contains(r) })) {
			return fmt.Errorf("the router %s is in none of its networks", r)
		}
	}
	for _, d := range a.DNS {
		if !d.IsValid() || d.IsUnspecified() || d.Zone() != "" {
			return fmt.Errorf("%s cannot be a DNS server", d)
		}
	}
	for _, domain := range a.Search {
		if !isHostName(domain) {
			return fmt.Errorf("search domain %q is no name", domain)
		}
	}
	return nil
}
