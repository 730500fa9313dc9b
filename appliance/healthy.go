package appliance

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
)

// Healthy asks /healthz of the appliance that runs with this configuration, and
// is nil where the answer is 200. An admin listener that asks for a login is
// asked through the socket in state.dir instead.
func (c *Config) Healthy(ctx context.Context) error {
	status := 0
	var err error
	if c.Listen.WebConfig != "" {
		status, _, err = NewControl(c.State.Dir).ask(ctx, http.MethodGet, "/healthz")
	} else {
		status, err = probe(ctx, "http://"+reachable(c.Listen.Admin).String()+"/healthz")
	}
	switch {
	case err != nil:
		return fmt.Errorf("the gate does not answer: %w; is it running with this configuration?", err)
	case status != http.StatusOK:
		return fmt.Errorf("the gate answers %d to /healthz; see its log", status)
	}
	return nil
}

func probe(ctx context.Context, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	// A transport of our own: the environment's proxy is for others.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// reachable is an address at which a listener of this machine can be dialled.
func reachable(a Address) netip.AddrPort {
	switch {
	case a.Addr().Is4() && a.Addr().IsUnspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case a.Addr().IsUnspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a.AddrPort
}
