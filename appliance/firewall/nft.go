package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
)

// Nft hands text to the nft command, which loads all of it or nothing. The error
// is a sentence that says what to do.
func Nft(ctx context.Context, text string) error {
	path, err := nftPath()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, path, "-f", "-")
	c.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("nft did not come to an end: %w", ctx.Err())
		}
		return inWords(said.String(), err)
	}
	return nil
}

func nftPath() (string, error) {
	if path, err := exec.LookPath("nft"); err == nil {
		return path, nil
	}
	// Services are often started without the folders of the system's tools.
	if path, err := exec.LookPath("/usr/sbin/nft"); err == nil {
		return path, nil
	}
	return "", errors.New("the nft command is not there; install the package nftables, or set firewall.manage = false")
}

// inWords says what nft meant.
func inWords(said string, err error) error {
	first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	switch {
	case strings.Contains(said, "Operation not permitted"), strings.Contains(said, "Permission denied"):
		return errors.New("this process may not change the firewall; give it the capability CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN, docker: --cap-add NET_ADMIN), or set firewall.manage = false and load the output of gatehouse nft yourself")
	case strings.Contains(said, "Protocol not supported"), strings.Contains(said, "Operation not supported"), strings.Contains(said, "cache initialization failed"):
		return fmt.Errorf("this kernel has no nftables, or lacks a part of it (%s); take a kernel with nf_tables, or set firewall.manage = false", first)
	case first != "":
		return fmt.Errorf("nft: %s", first)
	}
	return fmt.Errorf("nft: %w", err)
}

// CheckInterfaces reports the first interface of a plan that this machine does
// not have: a rule for it would never match, and nobody would notice.
func CheckInterfaces(p Plan) error {
	for _, list := range []struct {
		key   string
		names []string
	}{{"firewall.lan", p.LAN}, {"firewall.wan", p.WAN}} {
		for _, name := range list.names {
			if _, err := net.InterfaceByName(name); err != nil {
				return fmt.Errorf("%s: there is no interface %q on this machine; it has %s", list.key, name, interfaces())
			}
		}
	}
	return nil
}

func interfaces() string {
	list, err := net.Interfaces()
	if err != nil {
		return "none that can be told (" + err.Error() + ")"
	}
	var names []string
	for _, i := range list {
		if i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return "none but loopback"
	}
	return strings.Join(names, ", ")
}
