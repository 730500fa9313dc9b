//go:build linux

package appliance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// ownPassages carries the gate's own requests through its own rules: a built-in
// policy says where to, the gate's resolver judges every address, and each
// connection is in the book like that of any client.
type ownPassages struct {
	policy   *policy.Policy
	resolver interface {
		Resolve(context.Context, policy.Permit) ([]policy.Permit, policy.Verdict, error)
	}
	book flow.Sink
	now  func() time.Time
	dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
}

// fetchRule is the built-in rule by which service tags are fetched.
const fetchRule = "gatehouse/azure-fetch"

// fetchHosts are Microsoft's download page, and where its files lie.
var fetchHosts = []string{"www.microsoft.com", "download.microsoft.com"}

// fetchPolicy permits the gate itself to reach fetchHosts by TLS, and nothing
// else.
func fetchPolicy(treatAsPublic []netip.Prefix) (*policy.Policy, error) {
	r := policy.Rule{
		Name: fetchRule, Ports: []policy.PortRange{{First: 443, Last: 443}}, Protocol: policy.TLS, Addresses: policy.Addresses{Default: true},
		Clients: policy.Clients{Prefixes: []netip.Prefix{netip.PrefixFrom(localhost, localhost.BitLen())}},
		Because: `azure.fetch = "weekly"`,
	}
	for _, name := range fetchHosts {
		p, err := policy.ParseHostPattern(name)
		if err != nil {
			return nil, err
		}
		r.Hosts = append(r.Hosts, policy.ListedHost{HostPattern: p})
	}
	return policy.Compile(policy.Spec{Rules: []policy.Rule{r}, TreatAsPublic: treatAsPublic})
}

var localhost = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// transport makes HTTP requests over such connections, each over its own. The
// certificates of servers are verified with roots; nil: those of the system.
func (o *ownPassages) transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:         o.connect,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: o.now},
		TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute,
		DisableKeepAlives: true,
	}
}

// connect opens a connection, by "tcp" or "udp", to a host and port that the policy
// permits.
func (o *ownPassages) connect(ctx context.Context, network, address string) (net.Conn, error) {
	dest, err := destOf(address)
	if err != nil {
		return nil, err
	}
	r := &flow.Record{
		ID: flow.NewID(), Time: o.now(), Surface: policy.CONNECT, Client: localhost,
		Host: dest.Host.String(), Port: dest.Port, End: "refused",
	}
	if book, ok := o.book.(flow.Opener); ok { // or gauges would see it end, and never begin
		book.Opened(r.Surface)
	}
	v, permit := o.policy.Connect(policy.Connect{At: r.Time, Surface: policy.CONNECT, Client: localhost, Dest: dest})
	if r.Verdict, r.Protocol = v, v.Protocol; network == "udp" {
		r.Protocol = policy.UDP // a policy knows it to be forwarded only: the place was judged as if it were TCP
	}
	if !v.Allowed() {
		return nil, o.refused(r)
	}
	permits, v, err := o.resolver.Resolve(ctx, permit)
	switch {
	case err != nil:
		r.Verdict.Reason = policy.UpstreamUnresolved
		return nil, o.failed(r, err)
	case len(permits) == 0:
		r.Verdict = v
		return nil, o.refused(r)
	}
	for _, p := range permits {
		var conn net.Conn
		if conn, err = o.dial(ctx, network, netip.AddrPortFrom(p.Addr(), dest.Port)); err == nil {
			r.IP = p.Addr()
			for _, alias := range p.Aliases() {
				r.CNAME = append(r.CNAME, alias.Name())
			}
			return &ownConn{Conn: conn, of: o, record: r}, nil
		}
	}
	r.Verdict.Reason = policy.UpstreamUnreachable
	return nil, o.failed(r, err)
}

func (o *ownPassages) refused(r *flow.Record) error {
	r.Duration = o.now().Sub(r.Time)
	o.book.Record(r)
	return fmt.Errorf("%s is refused: %s (%s)", r.Host, r.Verdict.Reason, r.ID)
}

func (o *ownPassages) failed(r *flow.Record, err error) error {
	r.End, r.Duration = "error", o.now().Sub(r.Time)
	o.book.Record(r)
	return fmt.Errorf("%s (%s): %w", r.Host, r.ID, err)
}

// ownConn counts what goes through it, and is in the book once it is closed.
type ownConn struct {
	net.Conn
	of             *ownPassages
	record         *flow.Record
	sent, received atomic.Int64
	closed         sync.Once
}

func (c *ownConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

func (c *ownConn) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b))) // before: the answer may come, and another close it, before this returns
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n - len(b)))
	return n, err
}

func (c *ownConn) Close() error {
	c.closed.Do(func() {
		r := c.record
		r.Sent, r.Received, r.End, r.Duration = c.sent.Load(), c.received.Load(), "done", c.of.now().Sub(r.Time)
		c.of.book.Record(r)
	})
	return c.Conn.Close()
}
