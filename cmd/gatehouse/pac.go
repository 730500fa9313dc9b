package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
)

type pacFlags struct {
	fileFlags
	client, proxy string
}

func newPAC() *cobra.Command {
	var f pacFlags
	c := &cobra.Command{
		Use:   "pac",
		Short: "print the proxy auto-configuration file for the present rules",
		Long: `pac prints the file that listen.pac serves as /proxy.pac and /wpad.dat: what rules
name goes to the proxy, what the firewall lets through and what is on the LAN goes
directly, and everything else goes where pac.otherwise says.
Exit code: 0 done, 2 a file cannot be read or has errors.`,
		Example: "  gatehouse pac --client 10.30.0.7 > proxy.pac",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return printPAC(cmd, f) },
	}
	f.flags(c)
	c.Flags().StringVar(&f.client, "client", "", "tell only the rules of this client (default: those of every client)")
	c.Flags().StringVar(&f.proxy, "proxy", "", "address and port at which clients find the proxy (default: as in listen.proxy)")
	return c
}

func printPAC(cmd *cobra.Command, f pacFlags) error {
	var client netip.Addr
	if f.client != "" {
		var err error
		if client, err = netip.ParseAddr(f.client); err != nil {
			return fmt.Errorf("--client: %q is no IP address; write it like 10.30.0.7", f.client)
		}
	}
	h, err := f.load(cmd)
	if err != nil {
		return err
	}
	var proxy netip.AddrPort
	if f.proxy == "" {
		proxy, err = h.config.PACProxy()
	} else if proxy, err = netip.ParseAddrPort(f.proxy); err != nil {
		err = fmt.Errorf("--proxy: %q is no address and port; write it like 10.20.0.1:3128", f.proxy)
	}
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(h.config.PACFile(h.loaded.Policy, time.Now(), client, proxy))
	return err
}
