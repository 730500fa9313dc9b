package dnsallow

import (
	"context"
	"errors"
	"slices"
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
	queue := x.queue(servers)
	if len(queue) == 0 {
		return nil, errNoUpstream
	}
	if queue[0].how != overUDPFirst {
		return x.race(ctx, servers, queue, q, nil)
	}
	posted := x.promptly(ctx, queue[0], q)
	defer posted.close()
	if posted.answered && usable(posted.reply, posted.err) {
		x.done(ctx, result{upstream: queue[0], reply: posted.reply, took: time.Since(posted.posted)})
		return posted.reply, nil
	}
	return x.race(ctx, servers, queue, q, posted)
}

// goOn does the same from where a letter has been waited for in vain.
func (x *exchanger) goOn(ctx context.Context, servers []Upstream, q question, posted *letter) (*dns.Msg, error) {
	queue := x.queue(servers)
	i := slices.Index(queue, posted.upstream)
	if i < 0 { // it is asked no more, or of other names
		return x.ask(ctx, servers, q)
	}
	copy(queue[1:i+1], queue[:i]) // whoever was asked first stands first
	queue[0] = posted.upstream
	return x.race(ctx, servers, queue, q, posted)
}

// usable reports whether an answer over UDP says all that was asked for.
func usable(reply *dns.Msg, err error) bool { return err == nil && says(reply) && !reply.Truncated }

// patience is for how long one upstream is waited for before the next one is
// asked besides.
func (x *exchanger) patience() time.Duration { return min(x.hedge, x.try, x.total) }

// promptly asks over UDP for as long as no other upstream is to be asked
// besides. That is how most questions end, so it takes no goroutine and no timer
// but the socket's.
func (x *exchanger) promptly(ctx context.Context, u Upstream, q question) (l *letter) {
	l = post(u, q, true)
	defer func() {
		if f := recover(); f != nil {
			l.settle(nil, fault(f))
		}
	}()
	l.wait(ctx, l.posted.Add(x.patience()))
	return l
}

// done tells of an attempt that is over.
func (x *exchanger) done(ctx context.Context, r result) {
	x.health.note(r.upstream, r.took, r.err, x.now())
	if x.observe != nil {
		x.observe(r.upstream.String(), r.took, blame(ctx, r.err))
	}
}

// race asks the upstreams of a queue, each a while after the one before, until
// one answers. posted is the question to the first of them where it is already
// under way; it has been waited for.
func (x *exchanger) race(ctx context.Context, servers, queue []Upstream, q question, posted *letter) (*dns.Msg, error) {
	began, wait := time.Now(), x.hedge
	if posted != nil {
		began = posted.posted
	}
	if posted != nil && !posted.answered {
		wait = 0
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(x.total))
	var attempts sync.WaitGroup
	defer attempts.Wait()
	defer cancel()
	results := make(chan result, len(queue))
	var latest Upstream
	pending := 0
	next := func() bool {
		if len(queue) == 0 {
			return false
		}
		latest, queue, pending = queue[0], queue[1:], pending+1
		u, l := latest, posted
		posted = nil
		attempts.Go(func() { results <- x.attempt(ctx, servers, u, q, l) })
		return true
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	var failure error
	for pending > 0 || next() {
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
		patience.Reset(x.hedge)
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

// attempt asks one upstream once, or waits for what was posted to it. A panic is
// this attempt's failure.
func (x *exchanger) attempt(ctx context.Context, servers []Upstream, u Upstream, q question, posted *letter) (r result) {
	began, asked := time.Now(), ctx
	if posted != nil {
		began = posted.posted
	}
	r.upstream = u
	defer func() {
		if f := recover(); f != nil {
			r.reply, r.err = nil, fault(f)
		}
		r.took = time.Since(began)
		if x.observe != nil {
			x.observe(u.String(), r.took, blame(asked, r.err))
		}
	}()
	ctx, cancel := context.WithDeadline(ctx, began.Add(x.try))
	defer cancel()
	r.reply, r.err = x.decided(ctx, servers, u, q, posted)
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

// decided is an answer that says yes or no.
func (x *exchanger) decided(ctx context.Context, servers []Upstream, u Upstream, q question, posted *letter) (*dns.Msg, error) {
	if !u.addr.Addr().IsValid() {
		var err error
		if u, err = x.located(ctx, servers, u); err != nil {
			return nil, err
		}
	}
	reply, err := x.converse(ctx, u, q, true, posted)
	if err == nil && reply.Rcode == dns.RcodeFormatError { // an old server that knows no EDNS
		reply, err = x.converse(ctx, u, q, false, nil)
	}
	switch {
	case err != nil:
		return nil, err
	case !says(reply):
		return nil, rcodeError{dns.RcodeToString[reply.Rcode]}
	}
	return reply, nil
}

// says reports whether a reply says yes or no.
func says(reply *dns.Msg) bool {
	return reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError
}

// converse asks in the upstream's own way.
func (x *exchanger) converse(ctx context.Context, u Upstream, q question, edns bool, posted *letter) (*dns.Msg, error) {
	switch u.how {
	case overDNSTLS:
		return x.lines.overTLS(ctx, u, compose(q, edns))
	case overDNSHTTPS:
		return x.lines.overHTTPS(ctx, u, compose(q, edns))
	}
	return inTheClear(ctx, u, q, edns, posted)
}
