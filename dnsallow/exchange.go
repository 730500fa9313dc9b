package dnsallow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// question is what one upstream question asks, and the key of the cache.
type question struct {
	name  string // lower case, no trailing dot
	qtype uint16
}

// Observer is told of every attempt to ask an upstream: which, how long it
// took, and the error where there was no usable answer: context.Canceled where
// the attempt was given up, because another was quicker or nobody waits. It must
// not block.
type Observer func(upstream string, took time.Duration, err error)

// exchanger asks a list of upstreams one question. Each attempt over UDP has a
// socket, and thereby a source port, of its own (RFC 5452, section 9.2), an id
// from crypto/rand and a random case of letters ("0x20").
type exchanger struct {
	try     time.Duration // bound of one attempt
	total   time.Duration // bound of all attempts
	hedge   time.Duration // after which the next is asked besides
	observe Observer
	now     func() time.Time
	health  health
	lines   lines // to those that are asked over TLS
}

// rounds is how often each upstream is tried.
const rounds = 2

// payload is the UDP size we offer and accept: what passes everywhere without
// fragments (DNS Flag Day 2020).
const payload = 1232

var errNoUpstream = errors.New("no upstream DNS server is configured")

// result is how one attempt ended.
type result struct {
	reply    *dns.Msg
	err      error
	upstream Upstream
	took     time.Duration
}

// ask puts q to the upstreams, best first, until one answers with yes or no. The
// next is asked when one has failed, and besides when it takes long. When ask
// returns, nothing of it runs on.
func (x *exchanger) ask(ctx context.Context, servers []Upstream, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, x.total)
	var attempts sync.WaitGroup
	defer attempts.Wait()
	defer cancel()
	queue := x.queue(servers)
	results := make(chan result, len(queue))
	var latest Upstream
	pending := 0
	next := func() bool {
		if len(queue) == 0 {
			return false
		}
		latest, queue, pending = queue[0], queue[1:], pending+1
		u := latest
		attempts.Go(func() { results <- x.attempt(ctx, servers, u, q) })
		return true
	}
	patience := time.NewTimer(x.hedge)
	defer patience.Stop()
	failure := errNoUpstream
	for pending > 0 || next() {
		patience.Reset(x.hedge)
		select {
		case <-patience.C:
			if slow := latest; next() {
				x.health.slow(slow, x.now())
			}
		case r := <-results:
			pending--
			if r.err != nil && ctx.Err() != nil { // given up; the upstream is not to blame
				return nil, r.err
			}
			x.health.note(r.upstream, r.took, r.err, x.now())
			if r.err == nil {
				return r.reply, nil
			}
			failure = r.err
		}
	}
	return nil, failure
}

// queue is who is asked, in order: all, as often as there are rounds.
func (x *exchanger) queue(servers []Upstream) []Upstream {
	order := x.health.order(servers, x.now())
	queue := make([]Upstream, 0, rounds*len(order))
	for range rounds {
		queue = append(queue, order...)
	}
	return queue
}

// attempt asks one upstream once. A panic is this attempt's failure.
func (x *exchanger) attempt(ctx context.Context, servers []Upstream, u Upstream, q question) (r result) {
	began, asked := time.Now(), ctx
	r.upstream = u
	defer func() {
		if fault := recover(); fault != nil {
			r.reply, r.err = nil, fmt.Errorf("a fault in gatehouse: %v", fault)
		}
		r.took = time.Since(began)
		if x.observe != nil {
			x.observe(u.String(), r.took, blame(asked, r.err))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, x.try)
	defer cancel()
	r.reply, r.err = x.usable(ctx, servers, u, q)
	return r
}

// blame is what an attempt's error says of the upstream: where it was given up,
// nothing.
func blame(asked context.Context, err error) error {
	if err != nil && errors.Is(asked.Err(), context.Canceled) {
		return context.Canceled
	}
	return err
}

// usable is an answer that says yes or no.
func (x *exchanger) usable(ctx context.Context, servers []Upstream, u Upstream, q question) (*dns.Msg, error) {
	if !u.addr.Addr().IsValid() {
		var err error
		if u, err = x.located(ctx, servers, u); err != nil {
			return nil, err
		}
	}
	reply, err := x.converse(ctx, u, compose(q))
	if err == nil && reply.Rcode == dns.RcodeFormatError { // an old server that knows no EDNS
		plain := compose(q)
		plain.Extra = nil
		reply, err = x.converse(ctx, u, plain)
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, rcodeError{dns.RcodeToString[reply.Rcode]}
	}
	return reply, nil
}

// converse asks in the upstream's own way.
func (x *exchanger) converse(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	switch u.how {
	case overDNSTLS:
		return x.lines.overTLS(ctx, u, m)
	case overDNSHTTPS:
		return x.lines.overHTTPS(ctx, u, m)
	}
	return inTheClear(ctx, u, m)
}
