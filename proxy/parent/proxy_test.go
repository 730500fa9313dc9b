package parent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// dumb listens, and says nothing. It accepts by the kernel's hands alone.
func dumb(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func newProxy(at netip.AddrPort, c *clock, told *[]*Fault, change ...func(*Config, *Deps)) *Proxy {
	config := Config{Name: "county", Host: at.Addr().String(), Port: at.Port(), User: "gate", Password: "sesame"}
	deps := Deps{Own: func(netip.AddrPort) bool { return false }, Now: c.now, Told: func(f *Fault) { *told = append(*told, f) }, Via: "gatehouse"}
	for _, f := range change {
		f(&config, &deps)
	}
	return New(config, deps)
}

func TestAParentThatKeepsSilentIsPassedOverForAWhile(t *testing.T) {
	c, told := &clock{at: time.Unix(1e9, 0)}, []*Fault{}
	p := newProxy(dumb(t), c, &told)
	for i := range mostSilent {
		require.False(t, p.Passed(), "it was passed over after %d times", i)
		conn, err := p.Dial(context.Background())
		require.NoError(t, err)
		short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err = p.Tunnel(short, conn, "192.0.2.1:443")
		cancel()
		conn.Close()
		var f *Fault
		require.ErrorAs(t, err, &f)
		require.Equal(t, Silent, f.Cause)
		require.True(t, f.Timeout())
	}
	require.True(t, p.Passed())
	c.move(passOver)
	require.False(t, p.Passed())
	require.Len(t, told, mostSilent)
}

func TestAnAskerThatGaveUpIsNotHeldAgainstTheParent(t *testing.T) {
	c, told := &clock{at: time.Unix(1e9, 0)}, []*Fault{}
	p := newProxy(dumb(t), c, &told)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := p.Dial(gone)
	require.ErrorIs(t, err, context.Canceled)
	for range mostSilent {
		conn, err := p.Dial(context.Background())
		require.NoError(t, err)
		require.Error(t, p.Tunnel(gone, conn, "192.0.2.1:443"))
		conn.Close()
	}
	require.False(t, p.Passed())
}

func TestTheNameOfAParentIsLookedUp(t *testing.T) {
	at, c, told := dumb(t), &clock{at: time.Unix(1e9, 0)}, []*Fault{}
	lookUp := func(answer []netip.Addr, err error) func(*Config, *Deps) {
		return func(config *Config, deps *Deps) {
			config.Host = "parent.example"
			deps.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) { return answer, err }
		}
	}
	conn, err := newProxy(at, c, &told, lookUp([]netip.Addr{at.Addr()}, nil)).Dial(context.Background())
	require.NoError(t, err)
	conn.Close()
	trouble := errors.New("no server answers")
	p := newProxy(at, c, &told, lookUp(nil, trouble))
	_, err = p.Dial(context.Background())
	require.ErrorIs(t, err, trouble)
	require.True(t, p.Passed())
	_, err = newProxy(at, c, &told, lookUp(nil, nil)).Dial(context.Background())
	require.ErrorContains(t, err, "leads to no address")
}

func TestTheGatesOwnListenersAreNoParents(t *testing.T) {
	at, c, told := dumb(t), &clock{at: time.Unix(1e9, 0)}, []*Fault{}
	p := newProxy(at, c, &told, func(_ *Config, d *Deps) { d.Own = func(to netip.AddrPort) bool { return to == at } })
	_, err := p.Dial(context.Background())
	require.ErrorIs(t, err, errOwn)
}

func TestAParentIsPrintedWithoutItsPassword(t *testing.T) {
	at, c, told := dumb(t), &clock{at: time.Unix(1e9, 0)}, []*Fault{}
	p := newProxy(at, c, &told)
	require.NotContains(t, fmt.Sprintf("%v %s", p, p), "sesame")
	require.Equal(t, "Basic Z2F0ZTpzZXNhbWU=", p.Login())
	require.Empty(t, New(Config{Name: "open"}, Deps{}).Login())
}

func TestEachCauseIsSaidInASentence(t *testing.T) {
	said := map[string]bool{}
	for _, cause := range causes {
		f := &Fault{Parent: "county", Cause: cause, Status: 499}
		require.Regexp(t, `^The parent proxy county .+\.$`, f.Why())
		require.False(t, said[f.Why()], "%s is said like another", cause)
		said[f.Why()] = true
		require.NotContains(t, f.Fix(), "\n")
		require.Contains(t, f.Error(), "county: "+string(cause))
	}
	for status, cause := range map[int]Cause{407: Login, 403: Refused, 411: Length, 417: Expectation, 405: Method, 501: Method, 200: "", 404: "", 500: ""} {
		require.Equal(t, cause, CauseOf(status))
	}
}
