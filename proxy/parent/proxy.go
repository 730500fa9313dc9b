package parent

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"gatehouse/internal/http1"
)

// Config is one parent proxy.
type Config struct {
	Name string // in gatehouse.toml
	Host string // a name or an address
	Port uint16
	// User and Password are for Basic login (RFC 7617); both empty: none.
	User, Password string
	// ByName has it asked for names, which it resolves itself, instead of
	// addresses that were judged here.
	ByName bool
}

// Deps are what a Proxy works with. Lookup is required.
type Deps struct {
	// Lookup finds the addresses of the parent's own name.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Own reports whether an address is one of the gate's own listeners.
	Own func(netip.AddrPort) bool
	Now func() time.Time
	// Told is told of each fault; nil: nobody is.
	Told func(*Fault)
	Via  string // our name in Via
}

// Proxy is a parent proxy, safe for concurrent use.
type Proxy struct {
	config Config
	deps   Deps
	login  string       // the value of Proxy-Authorization; empty: none
	until  atomic.Int64 // passed over until then, in Unix nanoseconds
	silent atomic.Int32 // how often in a row it kept silent
	flows  atomic.Int64 // when it last let a stream through, in Unix nanoseconds
}

const (
	// passOver is how long a parent that does not answer is passed over.
	passOver = 30 * time.Second
	// mostSilent is how often a parent may keep silent until it is passed over:
	// once may be the destination's fault, which it waits for itself.
	mostSilent = 3
	// headBytes bounds its answer to a CONNECT.
	headBytes = 16 << 10
)

var errOwn = errors.New("it leads to the gate's own listeners")

// New makes a Proxy. It asks nobody.
func New(c Config, d Deps) *Proxy {
	p := &Proxy{config: c, deps: d}
	if c.User != "" || c.Password != "" {
		p.login = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
	}
	return p
}

// Name is its name in gatehouse.toml.
func (p *Proxy) Name() string { return p.config.Name }

// ByName reports whether it is asked for names instead of addresses.
func (p *Proxy) ByName() bool { return p.config.ByName }

// Login is the value of Proxy-Authorization, empty where there is none. It is
// for the parent alone, and never for a log.
func (p *Proxy) Login() string { return p.login }

// Passed reports whether it is passed over for now.
func (p *Proxy) Passed() bool { return p.deps.Now().UnixNano() < p.until.Load() }

// Dial opens a connection to the parent, at the first of its addresses that
// answers. The caller closes it. The error is a Fault.
func (p *Proxy) Dial(ctx context.Context) (*net.TCPConn, error) {
	addrs, err := p.addresses(ctx)
	for _, a := range addrs {
		to := netip.AddrPortFrom(a.Unmap(), p.config.Port)
		if p.deps.Own(to) {
			err = errOwn
			continue
		}
		var plain net.Dialer
		conn, failed := plain.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
		if failed == nil {
			return conn, nil
		}
		err = failed
	}
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) { // else nobody waits any more
		p.passOver()
	}
	return nil, p.Fault(Unreachable, 0, err)
}

func (p *Proxy) addresses(ctx context.Context) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(p.config.Host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := p.deps.Lookup(ctx, p.config.Host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("its name leads to no address")
	}
	return addrs, err
}

// Tunnel asks for a tunnel to authority on a connection that Dial has opened.
// After nil the connection is the tunnel, and not a byte of it has been read.
// Else the error is a Fault, and the connection is good for nothing but closing.
func (p *Proxy) Tunnel(ctx context.Context, conn net.Conn, authority string) error {
	if limit, ok := ctx.Deadline(); ok {
		conn.SetDeadline(limit)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	status, err := p.ask(conn, authority)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	conn.SetDeadline(time.Time{})
	var malformed http1.Error
	switch late, ok := err.(net.Error); {
	case errors.As(err, &malformed):
		return p.Fault(Garbled, 0, err)
	case ok && late.Timeout():
		if !errors.Is(ctx.Err(), context.Canceled) && p.silent.Add(1) >= mostSilent {
			p.passOver()
		}
		return p.Fault(Silent, 0, err)
	case err != nil:
		p.passOver()
		return p.Fault(Unreachable, 0, err)
	}
	p.answered()
	switch cause := CauseOf(status); {
	case status/100 == 2:
		return nil
	case status >= 502 && status <= 504:
		return p.Fault(Destination, status, nil)
	case cause != "":
		return p.Fault(cause, status, nil)
	}
	return p.Fault(Refused, status, nil)
}

// ask says CONNECT and reads the head of the answer.
func (p *Proxy) ask(conn net.Conn, authority string) (status int, err error) {
	head := fmt.Appendf(nil, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\nVia: 1.1 %[2]s\r\n", authority, p.deps.Via)
	if p.login != "" {
		head = fmt.Appendf(head, "Proxy-Authorization: %s\r\n", p.login)
	}
	if _, err := conn.Write(append(head, "\r\n"...)); err != nil {
		return 0, err
	}
	var answer http1.Response
	for {
		// Byte by byte: what follows the head is the origin's, and is spliced.
		head = head[:0]
		for n := 0; n == 0; {
			var b [1]byte
			if _, err := conn.Read(b[:]); err != nil {
				return 0, err
			}
			if head = append(head, b[0]); b[0] != '\n' {
				continue
			}
			if n, err = answer.Parse(head, "CONNECT", http1.Limits{HeadBytes: headBytes}); err != nil {
				return 0, err
			}
		}
		if !answer.Interim() {
			return answer.Status, nil
		}
	}
}

// Fault makes a Fault of this parent, and tells of it.
func (p *Proxy) Fault(cause Cause, status int, err error) *Fault {
	f := &Fault{Parent: p.config.Name, Cause: cause, Status: status, Err: err}
	if p.deps.Told != nil && !errors.Is(err, context.Canceled) {
		p.deps.Told(f)
	}
	return f
}

func (p *Proxy) passOver() { p.until.Store(p.deps.Now().Add(passOver).UnixNano()) }

// answered takes back what was held against it.
func (p *Proxy) answered() {
	p.silent.Store(0)
	p.until.Store(0)
}

// String is the parent without its password.
func (p *Proxy) String() string {
	return p.config.Name + " (" + net.JoinHostPort(p.config.Host, strconv.Itoa(int(p.config.Port))) + ")"
}
