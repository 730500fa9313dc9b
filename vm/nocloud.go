package vm

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// seed is a cloud-init NoCloud seed, as far as this machine understands it:
// https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
type seed struct {
	Settings Settings
	Password string            // in clear, if so given; Settings.Login where it came as a hash
	Files    map[string]string // of the gate, by name: gatehouse.toml, rules.toml
	Ignored  []string          // what it asks for and this machine does not do
}

// gateFiles are the files that write_files may write.
var gateFiles = []string{"gatehouse.toml", "rules.toml"}

// gateFolder is where they are for whoever writes a seed.
const gateFolder = "/etc/gatehouse"

type metaData struct {
	InstanceID    string `yaml:"instance-id"`
	LocalHostname string `yaml:"local-hostname"`
}

type userData struct {
	Hostname string `yaml:"hostname"`
	FQDN     string `yaml:"fqdn"`
	TimeZone string `yaml:"timezone"`
	NTP      struct {
		Servers []string `yaml:"servers"`
		Pools   []string `yaml:"pools"`
	} `yaml:"ntp"`
	Password   string `yaml:"password"`
	WriteFiles []struct {
		Path    string         `yaml:"path"`
		Content string         `yaml:"content"`
		Other   map[string]any `yaml:",inline"`
	} `yaml:"write_files"`
	Other map[string]any `yaml:",inline"`
}

// parseSeed reads the three files of a seed; network may be empty.
func parseSeed(meta, user, network []byte) (seed, error) {
	s := seed{Settings: unset(), Files: map[string]string{}}
	var m metaData
	if err := yaml.Unmarshal(meta, &m); err != nil {
		return s, fmt.Errorf("meta-data: %w", err)
	}
	if m.InstanceID == "" {
		return s, errors.New("meta-data: it has no instance-id, by which a new seed is told from an old one")
	}
	s.Settings.Instance = m.InstanceID
	if err := s.user(user, m); err != nil {
		return s, fmt.Errorf("user-data: %w", err)
	}
	if err := s.network(network); err != nil {
		return s, fmt.Errorf("network-config: %w", err)
	}
	slices.Sort(s.Ignored)
	if err := s.Settings.Check(); err != nil {
		return s, fmt.Errorf("seed: %w", err)
	}
	return s, nil
}

func (s *seed) user(text []byte, m metaData) error {
	var u userData
	if len(bytes.TrimSpace(text)) > 0 {
		if first, _, _ := bytes.Cut(text, []byte("\n")); strings.TrimSpace(string(first)) != "#cloud-config" {
			return errors.New(`only "#cloud-config" is understood, in the first line`)
		}
		if err := yaml.Unmarshal(text, &u); err != nil {
			return err
		}
	}
	for _, name := range []string{u.FQDN, u.Hostname, m.LocalHostname} {
		if name != "" {
			s.Settings.Hostname = name
			break
		}
	}
	s.Settings.TimeZone = u.TimeZone
	s.Settings.NTP = slices.Concat(u.NTP.Servers, u.NTP.Pools)
	for _, f := range u.WriteFiles {
		if err := s.file(f.Path, f.Content, f.Other); err != nil {
			return err
		}
	}
	for key := range u.Other {
		s.Ignored = append(s.Ignored, key)
	}
	return s.password(u.Password)
}

// file takes one of write_files: what it leaves out (owner, permissions) is fixed
// here, and an encoding or appending would make another file of it.
func (s *seed) file(name, content string, other map[string]any) error {
	base := path.Base(name)
	if name != gateFolder+"/"+base || !slices.Contains(gateFiles, base) {
		s.Ignored = append(s.Ignored, "write_files "+name)
		return nil
	}
	for _, key := range []string{"encoding", "append", "source", "defer"} {
		if _, ok := other[key]; ok {
			return fmt.Errorf("write_files %s: %s is not understood; give the text as it is", name, key)
		}
	}
	s.Files[base] = content
	return nil
}

// password takes the console's: in clear, or as a bcrypt hash.
func (s *seed) password(p string) error {
	switch {
	case strings.HasPrefix(p, "$2"):
		s.Settings.Login = p
	case strings.HasPrefix(p, "$"):
		// crypt(3) by SHA-512 and the like (Proxmox sends such): the console's login
		// cannot compare it.
		s.Ignored = append(s.Ignored, "password (hashed other than by bcrypt: set it on the screen)")
	case p != "":
		if err := checkPassword(p); err != nil {
			return err
		}
		s.Password = p
	}
	return nil
}

// network takes network-config in version 2 (netplan's) or 1.
func (s *seed) network(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	var n struct {
		Network *networkConfig `yaml:"network"`
		Top     networkConfig  `yaml:",inline"`
	}
	if err := yaml.Unmarshal(text, &n); err != nil {
		return err
	}
	if n.Network == nil {
		n.Network = &n.Top
	}
	var adapters map[string]Adapter
	var err error
	switch n.Network.Version {
	case 1:
		adapters, err = n.Network.first(s)
	case 2:
		adapters, err = n.Network.second(s)
	default:
		return fmt.Errorf("version %d is not understood; 1 and 2 are", n.Network.Version)
	}
	if err == nil && len(adapters) > 0 {
		s.Settings.Adapters = adapters
	}
	return err
}

func addresses(list []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}
