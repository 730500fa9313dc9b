package doctor

import (
	"context"

	"gatehouse/policy"
	"gatehouse/proxy"
)

// Through is the gate itself, whose ways to places are examined.
func Through(gate *proxy.Server) Gate { return through{gate} }

type through struct{ gate *proxy.Server }

// Reach implements Gate.
func (t through) Reach(ctx context.Context, choice string, plainHTTP bool, permits []policy.Permit) (*Line, error) {
	r, err := t.gate.Reach(ctx, choice, plainHTTP, permits)
	if err != nil {
		return nil, err
	}
	return &Line{Conn: r.Conn, To: r.Permit, Parent: r.Parent, Absolute: r.Absolute, Login: r.Login}, nil
}

// Blame implements Gate.
func (t through) Blame(parent string, status int) Fault {
	if f := proxy.ParentFaultOf(parent, status); f != nil {
		return f
	}
	return nil
}
