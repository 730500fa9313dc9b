package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// values are what one scenario found in one round, by row of the table.
type values map[string]float64

// scenario is one thing that clients do.
type scenario struct {
	key string
	run func(context.Context, *bench, *instance) (values, error)
}

// scenarios in the order in which each round runs them.
var scenarios = []scenario{
	{"get", measureGet},
	{"get-new", measureGetNew},
	{"connect", measureConnect},
	{"bulk-1", func(ctx context.Context, b *bench, i *instance) (values, error) { return measureBulk(ctx, b, i, 1) }},
	{"bulk-8", func(ctx context.Context, b *bench, i *instance) (values, error) { return measureBulk(ctx, b, i, 8) }},
	{"gateway", measureRedirected},
	{"down", measureDown},
	{"up", measureUp},
	{"duplex", measureDuplex},
	{"refuse", measureRefusal},
	{"idle", measureIdle},
	{"inspect", func(ctx context.Context, b *bench, i *instance) (values, error) {
		return measureInspected(ctx, b, i, "inspect", false)
	}},
	{"inspect-new", func(ctx context.Context, b *bench, i *instance) (values, error) {
		return measureInspected(ctx, b, i, "inspect-new", true)
	}},
	{"names", measureNames},
	{"reload", measureReload},
	{"start", measureStart},
}

// work is one client in a closed loop: what it does next when the last is done.
type work interface {
	step() (done int64, err error) // done in operations, or bytes
	close()
}

// perOperation lets clients work side by side, and returns the processor time of
// the measured program for one operation, in a window after a warm-up.
func perOperation(ctx context.Context, p plan, clients int, i *instance, begin func(until time.Time) work) (time.Duration, float64, error) {
	until := time.Now().Add(p.Warm + p.Window + 2*patience)
	var done atomic.Int64
	var over atomic.Bool
	var g errgroup.Group
	for range clients {
		g.Go(func() error {
			w := begin(until)
			defer w.close()
			for !over.Load() {
				n, err := w.step()
				if err != nil {
					over.Store(true)
					return err
				}
				done.Add(n)
			}
			return nil
		})
	}
	pause(ctx, p.Warm)
	ops, cpu, err := -done.Load(), time.Duration(0), error(nil)
	if cpu, err = i.program.cpu(); err == nil {
		before := cpu
		pause(ctx, p.Window)
		for late := time.Now().Add(patience); ctx.Err() == nil && ops+done.Load() < int64(clients) && !over.Load() && time.Now().Before(late); {
			pause(ctx, p.Window/8+time.Millisecond) // so slow that the window shows too little
		}
		cpu, err = i.program.cpu()
		cpu -= before
	}
	ops += done.Load()
	over.Store(true)
	if failed := g.Wait(); failed != nil {
		return 0, 0, failed
	}
	if err == nil && ops == 0 {
		err = fmt.Errorf("nothing was done in %s", p.Window)
	}
	return cpu, float64(ops), err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// asking sends the same request again and again.
type asking struct {
	session
	request []byte
	want    int
	each    bool // on a connection of its own
	until   time.Time
}

func (a *asking) step() (int64, error) {
	status, err := a.exchange(a.request, a.until)
	if a.each {
		a.close()
	}
	if err == nil && status != a.want {
		err = fmt.Errorf("the answer was %d, not %d", status, a.want)
	}
	return 1, err
}

func microseconds(cpu time.Duration, ops float64) float64 {
	return float64(cpu) / float64(time.Microsecond) / ops
}

func (i *instance) ask(ctx context.Context, p plan, host string, want int, each bool) (float64, error) {
	request := i.route.request("GET", host, "/small", "")
	cpu, ops, err := perOperation(ctx, p, p.Clients, i, func(until time.Time) work {
		return &asking{session: session{route: i.route}, request: request, want: want, each: each, until: until}
	})
	if err != nil {
		return 0, err
	}
	return microseconds(cpu, ops), nil
}

// one is a result of one value, or none where it failed.
func one(row string, v float64, err error) (values, error) {
	if err != nil {
		return nil, err
	}
	return values{row: v}, nil
}

func measureGet(ctx context.Context, b *bench, i *instance) (values, error) {
	cost, err := i.ask(ctx, b.plan, i.route.name, 200, false)
	return one("get", cost, err)
}

func measureGetNew(ctx context.Context, b *bench, i *instance) (values, error) {
	cost, err := i.ask(ctx, b.plan, i.route.name, 200, true)
	return one("get-new", cost, err)
}

func measureRefusal(ctx context.Context, b *bench, i *instance) (values, error) {
	cost, err := i.ask(ctx, b.plan, i.route.denied, i.route.refusal, false)
	return one("refuse", cost, err)
}

// knocking opens a tunnel, sends a byte through and back, and closes it.
type knocking struct {
	ctx   context.Context
	route route
	until time.Time
}

func (k knocking) close() {}

func (k knocking) step() (int64, error) {
	c, err := openTunnel(k.ctx, k.route, k.until)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return 1, pingByte(c)
}

func measureConnect(ctx context.Context, b *bench, i *instance) (values, error) {
	cpu, ops, err := perOperation(ctx, b.plan, b.plan.Clients, i, func(until time.Time) work {
		return knocking{ctx, i.route, until}
	})
	if err != nil {
		return nil, err
	}
	return values{"connect": microseconds(cpu, ops)}, nil
}

// drinking reads bytes that come without end through a tunnel.
type drinking struct {
	ctx    context.Context
	route  route
	until  time.Time
	conn   net.Conn
	buffer []byte
}

func (d *drinking) close() {
	if d.conn != nil {
		d.conn.Close()
	}
}

func (d *drinking) step() (int64, error) {
	if d.conn == nil {
		c, err := openTunnel(d.ctx, d.route, d.until)
		if err != nil {
			return 0, err
		}
		d.conn = c
		if _, err := c.Write([]byte{'b'}); err != nil {
			return 0, err
		}
	}
	n, err := d.conn.Read(d.buffer)
	return int64(n), err
}

func measureBulk(ctx context.Context, b *bench, i *instance, tunnels int) (values, error) {
	cpu, bytes, err := perOperation(ctx, b.plan, tunnels, i, func(until time.Time) work {
		return &drinking{ctx: ctx, route: i.route, until: until, buffer: make([]byte, 256<<10)}
	})
	if err != nil {
		return nil, err
	}
	return values{fmt.Sprintf("bulk-%d", tunnels): cpu.Seconds() / (bytes / (1 << 30))}, nil
}
