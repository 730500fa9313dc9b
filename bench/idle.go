package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// measureIdle: what does a tunnel cost that nobody uses? In a process of its own,
// so that no other scenario's memory is in the figure. A program that takes no
// more tunnels is measured with those it took.
func measureIdle(ctx context.Context, b *bench, narrow *instance) (values, error) {
	i, err := narrow.target.start(ctx, b.site, b.dir, b.cpu, b.plan.Few, false)
	if err != nil {
		return nil, err
	}
	defer i.stop()
	before, err := i.use(ctx, b.plan)
	if err != nil {
		return nil, err
	}
	tunnels := openTunnels(ctx, b.plan, i.route)
	defer func() {
		for _, c := range tunnels {
			c.Close()
		}
	}()
	if len(tunnels) == 0 {
		return nil, fmt.Errorf("no tunnel could be opened")
	}
	after, err := i.use(ctx, b.plan)
	if err != nil {
		return nil, err
	}
	n := float64(len(tunnels))
	return values{
		"idle-open":  n,
		"idle-kib":   (after.kib - before.kib) / n,
		"idle-fds":   (after.descriptors - before.descriptors) / n,
		"idle-alive": alive(tunnels, b.plan.Patience),
	}, nil
}

// use is what a program holds.
type use struct{ kib, descriptors float64 }

// use reads it when the program has come to rest.
func (i *instance) use(ctx context.Context, p plan) (u use, err error) {
	pause(ctx, p.Settle)
	if u.kib, err = i.program.proportionalKiB(); err != nil {
		return u, err
	}
	u.descriptors, err = i.program.descriptors()
	return u, err
}

// openTunnels opens as many tunnels as the plan says or the program takes, each
// tried with one byte.
func openTunnels(ctx context.Context, p plan, r route) []net.Conn {
	var mu sync.Mutex
	var open []net.Conn
	g, ctx := errgroup.WithContext(ctx)
	openings := make(chan struct{})
	for range p.Clients {
		g.Go(func() error {
			for range openings {
				c, err := openTunnel(ctx, r, time.Now().Add(patience))
				if err != nil {
					return err
				}
				if err := pingByte(c); err != nil {
					c.Close()
					return err
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			}
			return nil
		})
	}
feed:
	for range p.Tunnels {
		select {
		case openings <- struct{}{}:
		case <-ctx.Done(): // one could not be opened
			break feed
		}
	}
	close(openings)
	g.Wait()
	return open
}

// alive counts the tunnels that still carry a byte. It gives up after some that
// do not, for each of them takes its time.
func alive(tunnels []net.Conn, patience time.Duration) (n float64) {
	dead := 0
	for _, c := range tunnels {
		if c.SetDeadline(time.Now().Add(patience)) == nil && pingByte(c) == nil {
			n++
		} else if dead++; dead == 5 {
			break
		}
	}
	return n
}

// measureNames: the same with a long list, right after the short one, and the
// memory that the list takes.
func measureNames(ctx context.Context, b *bench, narrow *instance) (values, error) {
	few, err := narrow.target.start(ctx, b.site, b.dir, b.cpu, b.plan.Few, false)
	if err != nil {
		return nil, err
	}
	defer few.stop()
	many, err := narrow.target.start(ctx, b.site, b.dir, b.cpu, b.plan.Many, false)
	if err != nil {
		return nil, err
	}
	defer many.stop()
	short, err := few.use(ctx, b.plan)
	if err != nil {
		return nil, err
	}
	long, err := many.use(ctx, b.plan)
	if err != nil {
		return nil, err
	}
	found := values{"names-mib": (long.kib - short.kib) / 1024, "start-many": many.started.Seconds() * 1000}
	for _, m := range []struct {
		row  string
		i    *instance
		host string
		want int
	}{
		{"get-few", few, few.route.name, 200}, {"get-many", many, many.route.name, 200},
		{"refuse-few", few, few.route.denied, few.route.refusal}, {"refuse-many", many, many.route.denied, many.route.refusal},
	} {
		cost, err := m.i.ask(ctx, b.plan, m.host, m.want, false)
		if err != nil {
			return found, fmt.Errorf("%s: %w", m.row, err)
		}
		found[m.row] = cost
	}
	return found, nil
}

// measureStart: from exec to the first answered request.
func measureStart(ctx context.Context, b *bench, narrow *instance) (values, error) {
	i, err := narrow.target.start(ctx, b.site, b.dir, b.cpu, b.plan.Few, false)
	if err != nil {
		return nil, err
	}
	i.stop()
	return values{"start-few": i.started.Seconds() * 1000}, nil
}
