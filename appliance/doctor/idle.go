package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"gatehouse/policy"
)

// MostIdle bounds Options.Idle.
const MostIdle = 15 * time.Minute

// Survival leaves one connection for each way out (directly, each parent proxy)
// alone for Options.Idle and asks on it then: the first place of TLS on port 443
// that is reached by that way. Nil where there is none.
//
// Nothing is sent while it waits, but for the keep-alive probes of TCP, which the
// gate's own tunnels send too; to the far end of a parent's tunnel these do not
// go.
func (d *Doctor) Survival(ctx context.Context) *Check {
	ways := d.waysOut(ctx)
	if len(ways) == 0 {
		return nil
	}
	parts := make([]*Check, len(ways))
	var g errgroup.Group
	for i, w := range ways {
		g.Go(func() error { parts[i] = w.survive(ctx); return nil })
	}
	g.Wait()
	return Heading("idle tunnels", parts...)
}

// waysOut opens a connection by each way out.
func (d *Doctor) waysOut(ctx context.Context) (ways []*way) {
	seen := map[string]bool{} // by the choice that rules make, and by what came of it
	room := mostTargets
	for _, pack := range packsOf(d.Policy) {
		for _, e := range errands(d.Policy, pack, d.Now(), &room) {
			for _, t := range e.targets {
				w := &way{d: d, t: t}
				if t.protocol != policy.TLS || !w.speaksHTTP() || !w.methodListed("GET") || !d.wellTried(t) {
					continue
				}
				if w.judge(ctx); seen["choice "+w.choice] {
					continue
				}
				if w.open(ctx) && !seen[w.line.Parent] {
					seen["choice "+w.choice], seen[w.line.Parent] = true, true
					ways = append(ways, w)
					continue
				}
				w.hangUp()
			}
		}
	}
	return ways
}

// wellTried reports whether Requirements got through to a place.
func (d *Doctor) wellTried(t target) bool {
	d.mu.Lock()
	do, ok := d.tried[t.place()]
	d.mu.Unlock()
	return ok && do().State != Failed
}

// open goes as far as TLS.
func (w *way) open(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, w.d.Step)
	defer cancel()
	for _, step := range []func(context.Context) *Check{w.resolve, w.connect, w.handshake} {
		if step(ctx).State == Failed {
			return false
		}
	}
	return true
}

// survive waits, and asks then.
func (w *way) survive(ctx context.Context) *Check {
	l := w.line
	defer l.Close()
	name, by := "directly", "a firewall or an address translation on the way forgets connections"
	if l.Parent != "" {
		name, by = "through "+l.Parent, "the parent proxy ends tunnels"
	}
	name += ", " + w.t.dest.String()
	fix := "have it wait longer: the relay's connections rest for minutes; the gate itself waits for limits.tunnel_idle"
	began := w.d.Now()
	defer context.AfterFunc(ctx, func() { l.SetDeadline(time.Unix(1, 0)) })()
	in := bufio.NewReader(io.LimitReader(l, mostHead))
	l.SetReadDeadline(time.Now().Add(w.d.Idle))
	if _, err := in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
		return Suspect(name, fmt.Sprintf("ended after %s of the %s it was left alone", w.d.Now().Sub(began).Round(time.Second), w.d.Idle),
			"the place itself may do that, for no request came; where several do so after the same time, "+by+": "+fix)
	}
	l.SetDeadline(time.Now().Add(w.d.Step))
	if _, err := io.WriteString(l, w.head(l, request{method: "GET"})); err != nil {
		return Bad(name, fmt.Sprintf("was lost within the %s it was left alone: %v", w.d.Idle, err), by+": "+fix)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return Bad(name, fmt.Sprintf("was lost without a word within the %s it was left alone: %v", w.d.Idle, err), by+": "+fix)
	}
	return Fine(name, fmt.Sprintf("lives after %s without a byte, and answers %d", w.d.Idle, resp.StatusCode))
}
