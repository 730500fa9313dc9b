package proxy

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// Resolver turns a Permit for a name into Permits for single judged addresses,
// in the order in which they are to be dialled. A refusing Verdict comes with no
// Permits. An error tells of trouble upstream; if it has a method Timeout() bool
// that says so, the client is told of a time-out. A Permit for an address literal
// is answered without any look-up.
type Resolver interface {
	Resolve(ctx context.Context, permit policy.Permit) ([]policy.Permit, policy.Verdict, error)
}

// Config is how the gate behaves. Each zero value stands for the default in
// brackets.
type Config struct {
	Pseudonym   string // our name in Via, a token (gatehouse); give each appliance its own
	Connections int    // open client connections, in all (20000)
	PerClient   int    // and for one client address (4096)
	HeaderBytes int    // bytes of one head or trailer section (65536)

	HeadTime   time.Duration // from the first byte of a head to its end (30 s)
	KeepAlive  time.Duration // a client connection without a request (2 min)
	Opening    time.Duration // until a tunnel has shown its first bytes (10 s)
	Hold       time.Duration // a response head held back for its first bytes (1 s)
	Dial       time.Duration // all attempts to reach an origin (8 s)
	Stagger    time.Duration // between two attempts, RFC 8305 (250 ms)
	TunnelIdle time.Duration // a tunnel, or a stream in both directions, without a byte (1 h)
	Stall      time.Duration // a peer that takes nothing more, or keeps back what it promised (5 min)
	OriginIdle time.Duration // an origin connection kept for the next request (90 s)
	// PublishRate is how many requests a second one client may bring to published
	// doors, and ten seconds' worth of them at once (100).
	PublishRate int
	Linger      time.Duration // reading on after a last answer, so that it arrives (2 s)
	// Roots are whom the certificates of origins must come from where the gate
	// looks inside TLS; nil: the system's.
	Roots *x509.CertPool

	// Parents are the parent proxies, in the order in which they are tried; none:
	// origins are dialled directly.
	Parents []Parent

	// ResponseHead bounds the wait for an origin's response head. Zero is no
	// bound: a long poll may keep its head back for as long as it likes.
	ResponseHead time.Duration
}

// Deps are what the gate works with. Policy and Resolver are required.
type Deps struct {
	Policy   *policy.Live
	Resolver Resolver
	Book     *flow.Book // nil: nothing is written down
	Log      *slog.Logger
	// Own reports whether an address is one of the appliance's own listeners:
	// those are never dialled. Nil: there are none.
	Own func(netip.AddrPort) bool
	// Local reports whether an address is this machine's: what comes in by a published
	// door is never led there, whoever listens. Nil: none is.
	Local func(netip.Addr) bool
	// Told knows what redirected connections are for that show no name. Nil:
	// nobody was told anything.
	Told Told
	// ParentAddresses finds the addresses of a parent proxy's own name. Nil: the
	// system does. ParentFault is told what a parent did not do; nil: nobody is.
	ParentAddresses func(ctx context.Context, host string) ([]netip.Addr, error)
	ParentFault     func(*ParentFault)
	Now             func() time.Time // nil: time.Now
}

func (c *Config) fill() {
	if _, err := http1.ParsePseudonym(c.Pseudonym); err != nil {
		c.Pseudonym = product
	}
	orInt(&c.Connections, 20000)
	orInt(&c.PerClient, 4096)
	orInt(&c.HeaderBytes, 65536)
	orInt(&c.PublishRate, 100)
	orTime(&c.HeadTime, 30*time.Second)
	orTime(&c.KeepAlive, 2*time.Minute)
	orTime(&c.Opening, 10*time.Second)
	orTime(&c.Hold, time.Second)
	orTime(&c.Dial, 8*time.Second)
	orTime(&c.Stagger, 250*time.Millisecond)
	orTime(&c.TunnelIdle, time.Hour)
	orTime(&c.Stall, 5*time.Minute)
	orTime(&c.OriginIdle, 90*time.Second)
	orTime(&c.Linger, 2*time.Second)
}

func orInt(n *int, dflt int) {
	if *n <= 0 {
		*n = dflt
	}
}

func orTime(d *time.Duration, dflt time.Duration) {
	if *d <= 0 {
		*d = dflt
	}
}

func (d *Deps) fill() {
	if d.Book == nil {
		d.Book = &flow.Book{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Own == nil {
		d.Own = func(netip.AddrPort) bool { return false }
	}
	if d.Local == nil {
		d.Local = func(netip.Addr) bool { return false }
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.ParentAddresses == nil {
		d.ParentAddresses = lookup
	}
}
