package proxy

import (
	"context"
	"encoding/base64"
	"net/netip"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// logIn asks a client whose group has to log in who it is (RFC 7617). It is asked
// with each request and each tunnel; what is inside a tunnel came with the
// tunnel's login.
func (e *exchange) logIn() *refusal {
	if t := e.client.tunnel; t != nil {
		e.loggedIn(t.user)
		return nil
	}
	known := e.policy.Logins(e.client.addr)
	if len(known) == 0 {
		return nil
	}
	user, password, ok := credentials(values(&e.head.Fields, "Proxy-Authorization"))
	if !ok {
		return refusalFor(policy.Verdict{Reason: policy.LoginRequired})
	}
	switch e.server.logins.check(e.client.context(), known, e.client.addr, user, password, e.now) {
	case loggedInAs:
		e.loggedIn(clip(user))
		return nil
	case tooManyTries:
		r := refusalFor(policy.Verdict{Reason: policy.Limit})
		r.why = "Too many logins from here were wrong."
		return r
	}
	return refusalFor(policy.Verdict{Reason: policy.LoginRequired})
}

// loggedIn writes down who asks.
func (e *exchange) loggedIn(user string) {
	if user != "" {
		e.user = user
		e.passage.note(func(r *flow.Record) { r.User = user })
	}
}

// credentials are those of a Proxy-Authorization field. One that is repeated,
// over-long or of another scheme is none.
func credentials(fields []string) (user, password string, ok bool) {
	const most = 1024
	if len(fields) != 1 || len(fields[0]) > most {
		return "", "", false
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.Trim(token, " "))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(plain), ":")
}

// outcome is what became of a login.
type outcome uint8

const (
	wrongLogin outcome = iota
	tooManyTries
	loggedInAs
)

// logins bounds what wrong logins cost, and how fast passwords can be guessed.
// What was found of a login before costs nothing, and is bounded by nothing.
type logins struct {
	slots chan struct{} // for those that are being looked at
	mu    sync.Mutex
	tries map[netip.Addr]tries
}

// tries are the wrong logins of a client since a moment.
type tries struct {
	wrong int
	since time.Time
}

const (
	mostWrong    = 10 // for one client within the time below
	wrongWithin  = time.Minute
	mostLookedAt = 2      // at once: each takes a processor
	mostTriers   = 10_000 // clients that are remembered for wrong logins
)

func newLogins() logins {
	return logins{slots: make(chan struct{}, mostLookedAt), tries: map[netip.Addr]tries{}}
}

func (l *logins) check(ctx context.Context, known []policy.Logins, client netip.Addr, user, password string, now time.Time) outcome {
	asked := known[:0:0]
	for _, k := range known {
		right, lately := k.Recall(user, password, now)
		if right {
			return loggedInAs
		}
		if !lately {
			asked = append(asked, k)
		}
	}
	if len(asked) == 0 {
		return wrongLogin
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return wrongLogin
	}
	defer func() { <-l.slots }()
	// Counted before it is known, else many at once would be one.
	if !l.mayTry(client, now) {
		return tooManyTries
	}
	for _, k := range asked {
		if k.Check(user, password, now) {
			l.right(client)
			return loggedInAs
		}
	}
	return wrongLogin
}

// mayTry counts a try and reports whether the client may have it.
func (l *logins) mayTry(client netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, before := l.tries[client]
	if !before && len(l.tries) >= mostTriers && !l.forget(now) {
		return false
	}
	if now.Sub(t.since) >= wrongWithin {
		t = tries{since: now}
	}
	t.wrong++
	l.tries[client] = t
	return t.wrong <= mostWrong
}

// forget makes room, and reports whether there is any.
func (l *logins) forget(now time.Time) bool {
	for client, t := range l.tries {
		if now.Sub(t.since) >= wrongWithin {
			delete(l.tries, client)
		}
	}
	return len(l.tries) < mostTriers
}

// right takes a try back that was a right one.
func (l *logins) right(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tries[client]; t.wrong > 1 {
		t.wrong--
		l.tries[client] = t
	} else {
		delete(l.tries, client)
	}
}
