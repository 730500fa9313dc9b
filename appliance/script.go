package appliance

import (
	"net/netip"
	"strings"
	"time"

	"gatehouse/appliance/doctor"
	"gatehouse/policy"
)

// WindowsScript is a script for Windows PowerShell that tries, from a machine
// behind the gate, what the rules permit (pack: of one pack). The gate's address
// in it is the one that clients find the proxy at, as far as the configuration
// tells; the script's user may name another.
func (c *Config) WindowsScript(p *policy.Policy, pack string, build Build, at time.Time) (string, error) {
	o := doctor.ScriptOptions{Version: build.Version, Pack: pack, At: at, DNS: netip.AddrPortFrom(netip.IPv4Unspecified(), 53)}
	var err error
	if o.Proxy, err = c.PACProxy(); err != nil {
		o.Proxy = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 3128)
		for _, a := range c.Listen.Proxy {
			o.Proxy = netip.AddrPortFrom(o.Proxy.Addr(), a.Port())
		}
	}
	if len(c.Listen.DNS) > 0 {
		o.DNS = c.Listen.DNS[0].AddrPort
	}
	var b strings.Builder
	err = doctor.Script(&b, p, o)
	return b.String(), err
}
