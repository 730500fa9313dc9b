package proxy

import (
	"context"
	"net"
	"net/netip"

	"gatehouse/policy"
	"gatehouse/proxy/parent"
)

// Reached is a connection that was opened as a passage's would have been, for
// whoever examines the way to a place. It is in no book. Whoever has it closes
// it.
type Reached struct {
	net.Conn
	Permit policy.Permit // for the judged address
	Parent string        // the parent proxy it goes through; empty: directly
	// Absolute: it leads no further than to the parent, which takes single
	// requests in absolute form (RFC 9112, section 3.2.2); else it is a tunnel.
	Absolute bool
	// Login is the value of Proxy-Authorization for such requests, empty where
	// there is none. It is for the parent alone, and never for a log.
	Login string
}

// Reach opens a connection to the first of the permitted addresses that answers,
// by the parents that a verdict's choice leaves ("": those there are; "direct":
// past them), as the gate does for its clients. plainHTTP says that requests in
// plain HTTP are to follow, which a parent takes without a tunnel. The error is a
// ParentFault where a parent is at fault.
func (s *Server) Reach(ctx context.Context, choice string, plainHTTP bool, permits []policy.Permit) (*Reached, error) {
	l, permit, err := s.dialer.reach(ctx, s.dialer.ways(choice, plainHTTP), permits, false)
	if err != nil {
		return nil, err
	}
	r := &Reached{Conn: l.TCPConn, Permit: permit, Absolute: l.way.absolute}
	if p := l.way.parent; p != nil {
		r.Parent = p.Name()
		if r.Absolute {
			r.Login = p.Login()
		}
	}
	return r, nil
}

// ParentTrial is what became of a connection to a parent proxy.
type ParentTrial struct {
	Parent string         // its name
	At     netip.AddrPort // where it answers
	Err    error          // a ParentFault; nil: it answers
}

// TryParents connects to each parent proxy, and closes the connection.
func (s *Server) TryParents(ctx context.Context) []ParentTrial {
	var trials []ParentTrial
	for _, p := range s.dialer.parents {
		t := ParentTrial{Parent: p.Name()}
		conn, err := p.Dial(ctx)
		if t.Err = err; err == nil {
			t.At = conn.RemoteAddr().(*net.TCPAddr).AddrPort()
			conn.Close()
		}
		trials = append(trials, t)
	}
	return trials
}

// ParentFaultOf is what the status of an answer says of a parent that gave it;
// nil where it says nothing against it.
func ParentFaultOf(name string, status int) *ParentFault {
	cause := parent.CauseOf(status)
	if status >= 502 && status <= 504 {
		cause = parent.Destination
	}
	if cause == "" {
		return nil
	}
	return &ParentFault{Parent: name, Cause: cause, Status: status}
}

// PassedOver are the names of the parents that have failed and are passed over for
// now; all are those of all. Nobody is asked.
func (s *Server) PassedOver() (passed, all []string) {
	for _, p := range s.dialer.parents {
		all = append(all, p.Name())
		if p.Passed() {
			passed = append(passed, p.Name())
		}
	}
	return passed, all
}
