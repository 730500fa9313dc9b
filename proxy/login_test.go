package proxy

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// users are logins by heart. It counts what it was asked that costs something.
type users struct {
	passwords map[string]string
	known     map[string]bool
	checked   atomic.Int32
}

func (u *users) Recall(user, password string, _ time.Time) (ok, known bool) {
	return u.passwords[user] == password && u.known[user], u.known[user] && u.passwords[user] == password
}

func (u *users) Check(user, password string, _ time.Time) bool {
	u.checked.Add(1)
	want, there := u.passwords[user]
	return there && want == password
}

// guarded puts rules into force whose loopback clients have to log in.
func (g *gate) guarded(logins policy.Logins, rules ...policy.Rule) {
	p, err := policy.Compile(policy.Spec{
		Groups: []policy.Group{{Name: "staff", From: []netip.Prefix{loopback}, Logins: logins}},
		Rules:  rules, TreatAsPublic: []netip.Prefix{loopback},
	})
	require.NoError(g.t, err)
	g.live.Swap(p)
}

func basic(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
}

func TestAGroupThatHasToLogIn(t *testing.T) {
	o := nettest.NewOrigin(t)
	staff := &users{passwords: map[string]string{"ann": "se:same"}}
	rules := []policy.Rule{allow("www.example.org", o.Port, plainHTTP), allow("amqp.example.org", 1234, rawTCP)}
	g := newGate(t, options{}, rules...)
	g.guarded(staff, rules...)

	for _, test := range []struct{ name, fields string }{
		{"says nothing", ""},
		{"has another password", basic("ann", "sesame")},
		{"is nobody", basic("bob", "se:same")},
		{"says it twice", basic("ann", "se:same") + basic("ann", "se:same")},
		{"speaks another scheme", "Proxy-Authorization: Digest YW5uOnNlOnNhbWU=\r\n"},
		{"does not speak base64", "Proxy-Authorization: Basic ann:se:same\r\n"},
		{"says no colon", "Proxy-Authorization: Basic YW5u\r\n"},
		{"says too much", basic("ann", strings.Repeat("x", 2000))},
		{"logs in to the origin instead", strings.TrimPrefix(basic("ann", "se:same"), "Proxy-")},
	} {
		t.Run("is asked to where it "+test.name, func(t *testing.T) {
			for _, line := range []string{fmt.Sprintf("GET http://www.example.org:%d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n", o.Port),
				"CONNECT amqp.example.org:1234 HTTP/1.1\r\nHost: amqp.example.org:1234\r\n"} {
				method, _, _ := strings.Cut(line, " ")
				res, _ := g.dial().Say("%s%s\r\n", line, test.fields).Response(method)
				require.Equal(t, 407, res.StatusCode)
				require.Equal(t, `Basic realm="gatehouse", charset="UTF-8"`, res.Header.Get("Proxy-Authenticate"))
				r := g.record()
				require.Equal(t, policy.LoginRequired, r.Verdict.Reason)
				require.False(t, r.Verdict.Allowed())
				require.Empty(t, r.User)
			}
		})
		g.server.logins = newLogins() // the limit has a test of its own
	}
	o.Untouched(t)

	t.Run("and has, on one connection after the refusal", func(t *testing.T) {
		c := g.get("www.example.org", o.Port, "/")
		res, _ := c.Response("GET")
		require.Equal(t, 407, res.StatusCode)
		g.record()
		c.Say("GET http://www.example.org:%d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n%s\r\n", o.Port, strings.Replace(basic("ann", "se:same"), "Basic", "bASIC", 1))
		s := o.Take(t)
		require.NotContains(t, s.Head(), "uthorization", "the origin was told the login")
		s.Say("HTTP/1.1 204 No Content\r\n\r\n")
		res, _ = c.Response("GET")
		require.Equal(t, 204, res.StatusCode)
		r := g.record()
		require.Equal(t, "ann", r.User)
		require.Equal(t, "staff", r.Group)
	})
	t.Run("and has, for a tunnel", func(t *testing.T) {
		g.guarded(staff, allow("amqp.example.org", o.Port, rawTCP))
		c := g.dial().Say("CONNECT amqp.example.org:%d HTTP/1.0\r\n%s\r\n", o.Port, basic("ann", "se:same"))
		s := o.Take(t)
		c.Expect("HTTP/1.0 200 Connection established\r\n\r\n")
		c.Say("x")
		s.Expect("x")
		c.Close()
		s.Close()
		require.Equal(t, "ann", g.record().User)
	})
	t.Run("and what is inside a tunnel came with the tunnel's login", func(t *testing.T) {
		g.guarded(staff, allow("www.example.org", o.Port, plainHTTP))
		c := g.dial().Say("CONNECT www.example.org:%d HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n%s\r\n", o.Port, basic("ann", "se:same"))
		s := o.Take(t)
		c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
		c.Say("GET / HTTP/1.1\r\nHost: www.example.org:%d\r\n\r\n", o.Port)
		s.Head()
		s.Say("HTTP/1.1 204 No Content\r\n\r\n")
		res, _ := c.Response("GET")
		require.Equal(t, 204, res.StatusCode)
		require.Equal(t, "ann", g.record().User, "the entry of a request inside names no user")
	})
}

func TestAStrangerIsNotAskedToLogIn(t *testing.T) {
	g := newGate(t, options{}, allow("www.example.org", 80))
	res, _ := g.get("elsewhere.example.org", 80, "/").Response("GET")
	require.Equal(t, 403, res.StatusCode)
	require.Empty(t, res.Header.Get("Proxy-Authenticate"))
	require.Equal(t, policy.HostNotListed, g.record().Verdict.Reason)
}

func TestLoginsAreNotGuessedFast(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	staff := &users{passwords: map[string]string{"ann": "sesame", "bob": "open"}, known: map[string]bool{"bob": true}}
	l, known := newLogins(), []policy.Logins{staff}
	here, there := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	try := func(client netip.Addr, user, password string, at time.Time) outcome {
		return l.check(t.Context(), known, client, user, password, at)
	}
	for range 3 * mostWrong {
		require.Equal(t, loggedInAs, try(here, "ann", "sesame", now), "right logins were counted as wrong ones")
	}
	staff.checked.Store(0)
	for range mostWrong {
		require.Equal(t, wrongLogin, try(here, "ann", "guess", now))
	}
	require.Equal(t, tooManyTries, try(here, "ann", "sesame", now))
	require.Equal(t, mostWrong, int(staff.checked.Load()), "what is refused for their number costs nothing")
	require.Equal(t, loggedInAs, try(here, "bob", "open", now), "what is known already is not bounded")
	require.Equal(t, loggedInAs, try(there, "ann", "sesame", now), "another client is not to blame")
	require.Equal(t, loggedInAs, try(here, "ann", "sesame", now.Add(wrongWithin)))

	for i := range mostTriers {
		try(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), "ann", "guess", now)
	}
	require.LessOrEqual(t, len(l.tries), mostTriers)
	require.Equal(t, tooManyTries, try(netip.MustParseAddr("12.0.0.1"), "ann", "guess", now), "where nothing more can be remembered, nobody tries")
	require.Equal(t, wrongLogin, try(netip.MustParseAddr("12.0.0.1"), "ann", "guess", now.Add(wrongWithin)))
}

func TestTooManyWrongLoginsAreToldAsALimit(t *testing.T) {
	g := newGate(t, options{}, allow("www.example.org", 80))
	g.guarded(&users{passwords: map[string]string{"ann": "sesame"}}, allow("www.example.org", 80))
	c := g.dial()
	for i := range mostWrong + 1 {
		res, body := c.Say("GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n%s\r\n", basic("ann", "guess")).Response("GET")
		if i < mostWrong {
			require.Equal(t, 407, res.StatusCode)
			continue
		}
		require.Equal(t, 503, res.StatusCode)
		require.Contains(t, body, "Too many logins from here were wrong.")
	}
}

func TestARedirectedClientThatWouldHaveToLogInIsReset(t *testing.T) {
	o := nettest.NewOrigin(t)
	g, gateway := newGateway(t, options{}, allow("127.0.0.1", o.Port, rawTCP))
	g.guarded(&users{}, allow("127.0.0.1", o.Port, rawTCP))
	g.refusedAs(t, come(t, gateway, to("127.0.0.1", o.Port)), policy.LoginRequired, "127.0.0.1")
	o.Untouched(t)
}
