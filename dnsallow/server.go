package dnsallow

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// ServerConfig bounds what the server does at once. The zero value has useful
// bounds.
type ServerConfig struct {
	// Concurrent is how many questions may be under way (0: 1024); one more is
	// refused with "limit". PerNetwork is how many of them may come from one
	// client network, a /24 or a /56 (0: half of Concurrent); one more gets no
	// answer at all.
	Concurrent, PerNetwork int
	// PerClient is how many questions one client may ask in a second, and twice
	// as many at once (0: 1000); one more is refused with "limit". What it is
	// answered again within the lifetime of the answer does not count.
	PerClient int
	// Connections is how many TCP connections may be open (0: 256), half of them
	// from one network and an eighth from one client; one more is closed at once.
	Connections int
	// NoShelf has every question judged anew, also one that this client was
	// answered a moment ago: where nothing is to be kept, and to hold the two ways
	// against each other.
	NoShelf bool
	// Idle is for how long a TCP connection may stay silent (0: 10 s).
	Idle time.Duration
	// Drain is how long Serve waits for questions under way when it is told to
	// end (0: 3 s).
	Drain time.Duration
}

// ServerDeps is what a Server works with. Live, Resolver and Sink must be set.
type ServerDeps struct {
	Live     *policy.Live
	Resolver *Resolver
	Sink     flow.Sink
	Log      *slog.Logger     // nil: nothing is logged
	Now      func() time.Time // nil: time.Now
	Told     *Told            // nil: nobody wants to know what was answered to whom
	Pins     Pinner           // nil: no firewall follows the names
}

// Server answers DNS questions. Create it with NewServer.
type Server struct {
	config   ServerConfig
	live     *policy.Live
	resolver *Resolver
	sink     flow.Sink
	log      *slog.Logger
	now      func() time.Time
	told     *Told
	pins     Pinner

	gate    admission // of questions
	lines   admission // of TCP connections
	porch   admission // of TCP connections of strangers
	asking  pace[netip.Addr]
	refusal pace[netip.Prefix] // of strangers, by network
	full    pace[netip.Prefix] // of words about TCP connections that had no room
	workers chan struct{}      // one token for each UDP question under way
	refused atomic.Uint64      // TCP connections that were closed at once
	idle    atomic.Int32       // goroutines that wait for the next UDP question

	shelf   *shelf
	horizon atomic.Pointer[horizon]
}

// Bounds for clients that are not permitted. A source address can be forged, so
// what they are told must not fill anybody's line: a network is told no this
// often in a second, beyond that there is silence. The TCP connections they may
// hold are few, and taken from nobody.
const (
	strangerRefusals    = 20
	strangerConnections = 16
	strangerIdle        = 2 * time.Second
)

// turningAway is how many questions may be at the door besides those inside.
const turningAway = 64

// NewServer makes a server. It starts nothing; Serve does.
func NewServer(c ServerConfig, d ServerDeps) *Server {
	defaults := ServerConfig{Concurrent: 1024, PerClient: 1000, Connections: 256, Idle: 10 * time.Second, Drain: 3 * time.Second}
	c.Concurrent = orElse(c.Concurrent, defaults.Concurrent)
	c.PerNetwork = orElse(c.PerNetwork, max(1, c.Concurrent/2))
	c.PerClient = orElse(c.PerClient, defaults.PerClient)
	c.Connections = orElse(c.Connections, defaults.Connections)
	c.Idle = orElse(c.Idle, defaults.Idle)
	c.Drain = orElse(c.Drain, defaults.Drain)
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Server{
		config: c, live: d.Live, resolver: d.Resolver, sink: d.Sink, log: d.Log, now: d.Now, told: d.Told, pins: d.Pins,
		gate:    admission{total: c.Concurrent, each: c.PerNetwork},
		lines:   admission{total: c.Connections, each: max(1, c.Connections/2), alone: max(1, c.Connections/8)},
		porch:   admission{total: strangerConnections, each: strangerConnections / 4},
		asking:  pace[netip.Addr]{limit: 2 * c.PerClient, window: 2 * time.Second},
		refusal: pace[netip.Prefix]{limit: strangerRefusals, window: time.Second},
		full:    pace[netip.Prefix]{limit: 1, window: time.Minute},
		shelf:   newShelf(),
		workers: make(chan struct{}, c.Concurrent+turningAway),
	}
}

func orElse[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Serve answers on the given sockets until ctx ends, lets the questions under
// way finish for at most Drain, and returns with nothing running on. It closes
// the sockets. The error is nil where ctx ended it; a socket that somebody else
// closed ends it too, with an error. Call it once.
func (s *Server) Serve(ctx context.Context, packets []*net.UDPConn, streams []net.Listener) error {
	questions, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	box := newPostbox()
	if box != nil {
		defer box.serve(questions)()
	}
	readers, ctx := errgroup.WithContext(ctx)
	var work sync.WaitGroup
	for _, conn := range packets {
		readers.Go(func() error { return s.readPackets(ctx, questions, conn, box, &work) })
	}
	for _, l := range streams {
		readers.Go(func() error { return s.accept(ctx, questions, l, &work) })
	}
	readers.Go(func() error { return s.tend(ctx) })
	err := readers.Wait()
	patience := time.AfterFunc(s.config.Drain, giveUp)
	work.Wait()
	patience.Stop()
	for _, conn := range packets {
		conn.Close()
	}
	s.closeFolds(func(*fold) bool { return true })
	return err
}

// respond answers one packet; nil: there is nothing to answer. A panic ends
// this question and no other.
func (s *Server) respond(ctx context.Context, packet []byte, from net.Addr, tcp bool) []byte {
	if in, ok := s.read(packet, from, tcp); ok {
		return s.attend(ctx, in)
	}
	return nil
}

// attend answers an inquiry that has been read.
func (s *Server) attend(ctx context.Context, in *inquiry) []byte {
	p := s.live.Policy()
	return s.conclude(nil, p, in, s.within(in, func() outcome {
		o, e := s.guarded(p, in)
		if e.due() {
			o = s.carry(ctx, in, e)
		}
		return o
	}))
}

// within has something done while there is room for it.
func (s *Server) within(in *inquiry, do func() outcome) outcome {
	switch s.gate.enter(in.client) {
	case silenced:
		o := tooMuch
		o.silent = true
		return o
	case turnedAway:
		return tooMuch
	}
	defer s.gate.leave(in.client)
	return do()
}

// conclude enters an outcome into the book, and appends the reply to dst; nil:
// none is sent.
func (s *Server) conclude(dst []byte, p *policy.Policy, in *inquiry, o outcome) (reply []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("dns: a question could not be answered", "id", in.id, "fault", fault)
			reply = nil
		}
	}()
	w := writers.Get().(*writer)
	defer writers.Put(w)
	d, err := o.draft(in, w)
	if err != nil {
		s.log.Error("dns: a reply could not be written", "id", in.id, "err", err)
		d, o.lasts = draft{wire: make([]byte, headerBytes), end: headerBytes, rcode: dns.RcodeServerFailure}, time.Time{}
	}
	now := s.now()
	id := s.enter(p, in, &o, d, now)
	s.tell(in, &o)
	if o.silent {
		return nil
	}
	return d.finish(dst, in.packet, in.ask(), id, now)
}

// read also survives a packet that makes the parser itself panic.
func (s *Server) read(packet []byte, from net.Addr, tcp bool) (in *inquiry, ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("dns: a packet could not be read", "fault", fault)
			in, ok = nil, false
		}
	}()
	if in, ok = new(inquiry), true; !in.readPlain(packet) {
		in, ok = readInquiry(packet)
	}
	if !ok {
		return nil, false
	}
	in.tcp = tcp
	in.begin(addrOf(from), s.now())
	return in, true
}

// guarded judges. What makes the judge panic is refused.
func (s *Server) guarded(p *policy.Policy, in *inquiry) (o outcome, e errand) {
	defer func() {
		if fault := recover(); fault != nil {
			o, e = s.faulty(in, fault), errand{}
		}
	}()
	return s.judge(p, in)
}

func (s *Server) faulty(in *inquiry, fault any) outcome {
	s.log.Error("dns: a question could not be judged; it was refused", "id", in.id, "fault", fault)
	return refuse(policy.Verdict{}, dns.RcodeServerFailure)
}
