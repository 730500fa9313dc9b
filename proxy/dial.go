package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"gatehouse/policy"
	"gatehouse/proxy/keeper"
	"gatehouse/proxy/parent"
)

var (
	// errOwnListener: every judged address is one of the appliance's own doors, or, for
	// what comes in, one of its machine's.
	errOwnListener = errors.New("the address is one of the gate's own listeners, or leads from a published door to this machine")
	errNoPermit    = errors.New("no permit for a single address was given")
	errDialTimeout = errors.New("no address answered in time")
)

// dialer reaches origins. It takes Permits, never strings: no permit, no dial.
type dialer struct {
	keeper  *keeper.Keeper
	timeout time.Duration // all attempts
	stagger time.Duration // from one attempt to the next
	own     func(netip.AddrPort) bool
	local   func(netip.Addr) bool
	parents []*parent.Proxy // in the order in which they are tried
}

// attempt is what became of dialling one address.
type attempt struct {
	line   *line
	permit policy.Permit
	err    error
}

// dial opens an ordinary connection.
func (d *dialer) dial(ctx context.Context, permits []policy.Permit) (*line, policy.Permit, error) {
	return d.race(ctx, permits, d.one)
}

// dialBare opens a connection for the keeper, where there is but one address to try.
func (d *dialer) dialBare(ctx context.Context, permits []policy.Permit) (*line, policy.Permit, error) {
	permits, err := d.passable(permits)
	switch {
	case err != nil:
		return nil, policy.Permit{}, err
	case len(permits) > 1:
		return d.race(ctx, permits, d.oneBare)
	}
	a := d.oneBare(ctx, permits[0])
	if errors.Is(a.err, os.ErrDeadlineExceeded) {
		a.err = fmt.Errorf("%w: %w", errDialTimeout, a.err)
	}
	return a.line, a.permit, a.err
}

// race tries the addresses in their order, the next one as soon as one fails or
// after the stagger (RFC 8305, section 5), and returns the first connection with
// the permit for its address. Of several errors the first is returned.
func (d *dialer) race(ctx context.Context, permits []policy.Permit, one func(context.Context, policy.Permit) attempt) (*line, policy.Permit, error) {
	permits, err := d.passable(permits)
	if err != nil {
		return nil, policy.Permit{}, err
	}
	within, cancel := context.WithTimeoutCause(ctx, d.timeout, errDialTimeout)
	defer cancel()
	if len(permits) == 1 { // nobody to overtake it: no goroutine
		a := one(within, permits[0])
		if a.err != nil {
			return nil, policy.Permit{}, dialError(within, a.err)
		}
		return a.line, a.permit, nil
	}
	results := make(chan attempt) // the losers are received, and closed, below
	next := time.NewTimer(0)
	defer next.Stop()
	started, pending := 0, 0
	defer func() {
		cancel()
		for ; pending > 0; pending-- {
			if late := <-results; late.line != nil {
				late.line.Close()
			}
		}
	}()
	for {
		select {
		case <-next.C:
			go func(p policy.Permit) { results <- one(within, p) }(permits[started])
			started++
			pending++
			if started < len(permits) {
				next.Reset(d.stagger)
			}
		case a := <-results:
			pending--
			if a.err == nil {
				return a.line, a.permit, nil
			}
			if err == nil {
				err = a.err
			}
			if pending == 0 && started == len(permits) {
				return nil, policy.Permit{}, dialError(within, err)
			}
			if started < len(permits) {
				next.Reset(0)
			}
		}
	}
}

// passable holds the judged addresses against the gate's own doors, which no
// rule, literal or alias may lead to. What comes in may lead to nothing at all on this
// machine: many a service trusts whoever asks from the machine itself.
func (d *dialer) passable(permits []policy.Permit) ([]policy.Permit, error) {
	var list []policy.Permit
	for _, p := range permits {
		switch {
		case !p.Valid() || !p.Addr().IsValid():
			return nil, errNoPermit
		case !d.own(addrPort(p)) && !(p.Surface() == policy.Publish && d.local(p.Addr())):
			list = append(list, p)
		}
	}
	switch {
	case len(permits) == 0:
		return nil, errNoPermit
	case len(list) == 0:
		return nil, errOwnListener
	}
	return list, nil
}

// one dials an address: the literal of one, so nothing is resolved. Not by DialTCP,
// which takes the lack of a source address for one to bind to: the kernel then picks
// a source port that no other connection has, whatever its destination, and there
// are only so many.
func (d *dialer) one(ctx context.Context, p policy.Permit) attempt {
	var plain net.Dialer
	conn, err := plain.DialContext(ctx, "tcp", addrPort(p).String())
	if err != nil {
		return attempt{err: err}
	}
	return attempt{line: &line{TCPConn: conn.(*net.TCPConn), to: addrPort(p)}, permit: p}
}

// oneBare dials an address by the keeper, or else in the ordinary way.
func (d *dialer) oneBare(ctx context.Context, p policy.Permit) attempt {
	conn, err := d.keeper.Dial(ctx, addrPort(p), d.timeout)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return d.one(ctx, p)
	case err != nil:
		return attempt{err: err}
	}
	return attempt{line: &line{bare: conn, to: addrPort(p)}, permit: p}
}

// dialError tells a time-out from other trouble: a context that ran out shows
// itself in many ways.
func dialError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// addrPort is the address and port a narrowed permit leads to.
func addrPort(p policy.Permit) netip.AddrPort {
	return netip.AddrPortFrom(p.Addr(), p.Dest().Port)
}
