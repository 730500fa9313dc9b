package appliance

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/alarm"
	"gatehouse/appliance/doctor"
)

func TestAPassageUnderWayEndsByItselfWhenTheGateIsToldToStop(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	require.NoError(t, s.stop())
	s.drain = time.Minute // the passage ends by itself
	s.start()
	began, release := make(chan struct{}), make(chan struct{})
	s.origin.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		close(began)
		<-release
		io.WriteString(w, "last")
	})
	type answer struct {
		status int
		body   string
	}
	got := make(chan answer, 1)
	go func() {
		status, body := s.get("/update.inf")
		got <- answer{status, body}
	}()
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	require.Eventually(t, func() bool { // the door is closed before the passage has ended
		conn, err := net.Dial("tcp", s.address("proxy"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 20*time.Second, 10*time.Millisecond)
	close(release)
	require.Equal(t, answer{200, "first last"}, <-got)
	require.NoError(t, <-stopped)
	require.Contains(t, s.log.String(), `"end":"done"`, "and its line is written before the process ends")
}

func TestAPassageEndsWhenTheDayOfItsRuleIsOver(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	s := newSite(t, rulesText+"until = "+until+"\n")
	_, in, resp := s.connect("relay.groupcall.test:" + s.echo)
	require.Equal(t, 200, resp.StatusCode)
	s.ahead.Store(int64(2 * time.Hour))
	_, err := in.ReadByte()
	require.Error(t, err, "nobody changed any file, and the tunnel ends")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, s.stop())
	require.Contains(t, s.log.String(), `"end":"policy"`)
}

func TestTheDecisionLogCanBeAFileInSquidsFormat(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.configure("[log]\ndecisions = \"log/access.log\"\nformat = \"squid\"\n")
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)
	require.NoError(t, s.stop())
	text, err := os.ReadFile(filepath.Join(s.dir, "log", "access.log"))
	require.NoError(t, err)
	fields := strings.Fields(string(text))
	require.Len(t, fields, 10)
	require.Regexp(t, `^1[0-9][0-9]$`, fields[4], "the head, and ten octets")
	fields[4] = "SIZE"
	require.Equal(t, []string{"TCP_MISS/200", "SIZE", "GET", "http://www.groupcall.test:" + s.port + "/update.inf", "-", "HIER_DIRECT/127.0.0.1", "text/plain"}, fields[3:])
}

func TestAFullDiskHoldsUpNothing(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	t.Parallel()
	s := newSite(t, rulesText)
	s.configure("[log]\ndecisions = \"/dev/full\"\n")
	for range 3 {
		status, _ := s.get("/update.inf")
		require.Equal(t, 200, status)
	}
	require.NoError(t, s.stop())
	require.Contains(t, scrape(t, s.tally), "gatehouse_log_dropped_total 3\n")
	require.Equal(t, 1, strings.Count(s.said.String(), "no space left on device"), "told once")
	check := s.decisionsCheck()
	require.Equal(t, doctor.Failed, check.State)
	require.Contains(t, check.Says, "no space left on device; 3 lines since the start")
	alarms := s.wrong()
	require.True(t, slices.ContainsFunc(alarms, func(c alarm.Condition) bool { return c.Kind == alarm.LogDropped }), "%v", alarms)
}

func TestATaskThatPanicsEndsNothingElse(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.guarded("test", func() { panic("a fault") })
	require.Contains(t, s.said.String(), "a task panicked")
	s.trial.alone(func() { s.rulebook.tags = nil }) // makes the reader of the rules panic
	status, body := s.reload(rulesText + "addresses = \"northeurope\"\n")
	require.Equal(t, 422, status)
	require.Contains(t, body, codeFault)
	status, _ = s.get("/update.inf")
	require.Equal(t, 200, status, "the rules in force stay")
}

func TestWhatIsTheAppliancesOwn(t *testing.T) {
	listen := func(at string) net.Listener {
		ln, err := net.Listen("tcp", at)
		require.NoError(t, err)
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	one, all := listen("127.0.0.1:0"), listen("0.0.0.0:0")
	l := &listeners{proxy: []net.Listener{one}, admin: all}
	port := func(ln net.Listener) uint16 { return ln.Addr().(*net.TCPAddr).AddrPort().Port() }
	for _, c := range []struct {
		name, addr string
		port       uint16
		own        bool
	}{
		{"the very address", "127.0.0.1", port(one), true},
		{"the address dressed as IPv6", "::ffff:127.0.0.1", port(one), true},
		{"the unspecified address, which reaches this machine", "0.0.0.0", port(one), true},
		{"the unspecified IPv6 address", "::", port(one), true},
		{"another port", "127.0.0.1", 1, false},
		{"another address of loopback", "127.0.0.2", port(one), false},
		{"any loopback address of a listener on every address", "127.0.0.2", port(all), true},
		{"somebody else's address, on the same port", "192.0.2.7", port(all), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.own, l.own(netip.AddrPortFrom(netip.MustParseAddr(c.addr), c.port)))
		})
	}
}

// ownAddress is an address of this machine that a rule may lead to; the test is skipped
// where there is none.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	list, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range list {
		if n, err := netip.ParsePrefix(a.String()); err == nil && n.Addr().Is4() && n.Addr().IsPrivate() {
			return n.Addr()
		}
	}
	t.Skip("this machine has no private address")
	return netip.Addr{}
}

func TestWhatIsThisMachines(t *testing.T) {
	a := &Appliance{Options: Options{Config: &Config{Addresses: AddressesConfig{TreatAsPublic: []Network{{netip.MustParsePrefix("127.0.0.0/8")}}}}}}
	for addr, want := range map[string]bool{
		"127.0.0.1": false, "::ffff:127.0.0.1": false, // as a test bed has it
		"::1": true, "0.0.0.0": true, "::": true, "192.0.2.7": false, "2001:db8::7": false,
	} {
		require.Equal(t, want, a.local(netip.MustParseAddr(addr)), addr)
	}
	require.True(t, a.local(ownAddress(t)))
}

func TestAPublishNeverLeadsToWhatElseRunsHere(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(ownAddress(t), 0).String())
	require.NoError(t, err)
	defer ln.Close()
	s := newSite(t, rulesText)
	s.take(strings.Replace(publishText, "127.0.0.1:PORT", ln.Addr().String(), 1))
	status, body := s.ask("GET", "http://"+s.published()+"/api/x", nil)
	require.Equal(t, 403, status, body)
	require.Contains(t, body, "address-not-allowed")
}

func TestEveryIPv4AddressIsNoIPv6Address(t *testing.T) {
	l, err := openListeners(ListenConfig{
		Proxy: []Address{address("0.0.0.0:0")}, DNS: []Address{address("0.0.0.0:0")},
		Metrics: []Address{address(":0")}, Admin: address("127.0.0.1:0"),
	}, new(inheritance))
	require.NoError(t, err)
	defer l.close()
	at := func(a net.Addr) netip.Addr { return netip.MustParseAddrPort(a.String()).Addr() }
	require.Equal(t, netip.IPv4Unspecified(), at(l.proxy[0].Addr()), "who writes 0.0.0.0 has not opened IPv6")
	require.Equal(t, netip.IPv4Unspecified(), at(l.dnsTCP[0].Addr()))
	require.Equal(t, netip.IPv4Unspecified(), at(l.dnsUDP[0].LocalAddr()))
	require.True(t, at(l.metrics[0].Addr()).IsUnspecified())
}

func TestSystemdIsToldOfReadinessAndOfTheEnd(t *testing.T) {
	path := filepath.Join(shortDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	told := func() string {
		buf := make([]byte, 64)
		n, err := conn.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	s := newSite(t, rulesText)
	require.Equal(t, "READY=1", told())
	require.NoError(t, s.stop())
	require.Equal(t, "STOPPING=1", told())
}
