package nettest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of a test's own: a machine with interfaces,
// routes and a firewall that nobody else sees. It is deleted with the test.
type Namespace struct {
	Name string
	t    testing.TB
}

// NeedNamespaces skips the test unless GATEHOUSE_NETNS=required, and then fails it
// where it is not root or lacks one of the tools.
func NeedNamespaces(t testing.TB, tools ...string) {
	t.Helper()
	if os.Getenv("GATEHOUSE_NETNS") != "required" {
		t.Skip("it makes network namespaces and firewalls: as root, with GATEHOUSE_NETNS=required")
	}
	if os.Geteuid() != 0 {
		t.Fatal("the test is required, and network namespaces need root")
	}
	for _, tool := range append([]string{"ip", "nft", "sysctl"}, tools...) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the test is required, and %s is not installed", tool)
		}
	}
}

var namespaces atomic.Int32

// NewNamespace makes a namespace in which loopback is up. Duplicate address
// detection, which makes an IPv6 address wait, is off.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	n := &Namespace{Name: fmt.Sprintf("gh%d-%d", os.Getpid(), namespaces.Add(1)), t: t}
	if out, err := exec.Command("ip", "netns", "add", n.Name).CombinedOutput(); err != nil {
		t.Fatalf("make a network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", n.Name).Run() })
	n.Sh("ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
	return n
}

// Sh runs a script of the shell in the namespace, and returns what it says. It
// fails the test where a command of it fails.
func (n *Namespace) Sh(script string) string {
	n.t.Helper()
	// Not by "ip netns exec", which mounts another /sys.
	out, err := exec.Command("nsenter", "--net=/run/netns/"+n.Name, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s\n%s\n%v", script, out, err)
	}
	return string(out)
}

// In runs f with the network of the namespace. Sockets that f makes and programs
// that it starts stay there; goroutines that it starts do not. f must not end the
// test (FailNow, require), for it runs in a goroutine of its own.
func (n *Namespace) In(f func()) {
	n.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := n.enter()
		defer func() { done <- err }()
		if err == nil {
			f()
		}
	}()
	if err := <-done; err != nil {
		n.t.Fatalf("enter the namespace %s: %v", n.Name, err)
	}
}

func (n *Namespace) enter() error {
	f, err := os.Open("/run/netns/" + n.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// Dial opens a connection from the namespace. It gives up as Patience says.
func (n *Namespace) Dial(network, address string) (conn net.Conn, err error) {
	n.In(func() { conn, err = net.DialTimeout(network, address, Patience) })
	return conn, err
}

// Listen opens a TCP listener in the namespace, for the caller to close.
func (n *Namespace) Listen(address string) (ln net.Listener) {
	n.t.Helper()
	var err error
	n.In(func() { ln, err = net.Listen("tcp", address) })
	if err != nil {
		n.t.Fatalf("listen at %s: %v", address, err)
	}
	return ln
}

// Path is three machines in a row: a client, a gate in its path, and origins.
type Path struct {
	Client, Gate, Origin *Namespace
}

// The addresses of a Path. The client's networks are 10.99.1.0/24 and fd99:1::/64,
// those of the origins 203.0.113.0/24 and 2001:db8:9::/64, where the origins are
// .7 to .9 and ::7 to ::9, and 10.77.0.20 and fd77::20 are on a school's other network.
const (
	GateLAN, GateLAN6 = "10.99.1.1", "fd99:1::1"
	GateWAN, GateWAN6 = "203.0.113.1", "2001:db8:9::1"
	ClientAt          = "10.99.1.2"
	MIS, MIS6         = "10.77.0.20", "fd77::20"
)

// NewPath makes three machines in a row. The gate routes, and has no firewall yet.
func NewPath(t testing.TB) *Path {
	t.Helper()
	p := &Path{Client: NewNamespace(t), Gate: NewNamespace(t), Origin: NewNamespace(t)}
	p.Gate.Sh(strings.NewReplacer("CC", p.Client.Name, "OO", p.Origin.Name).Replace(`
ip link add lan0 type veth peer name eth0 netns CC
ip link add wan0 type veth peer name eth0 netns OO
ip addr add 10.99.1.1/24 dev lan0; ip addr add fd99:1::1/64 dev lan0 nodad
ip addr add 203.0.113.1/24 dev wan0; ip addr add 2001:db8:9::1/64 dev wan0 nodad
ip link set lan0 up; ip link set wan0 up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`))
	p.Client.Sh(`
ip addr add 10.99.1.2/24 dev eth0; ip addr add fd99:1::2/64 dev eth0 nodad; ip link set eth0 up
ip route add default via 10.99.1.1; ip -6 route add default via fd99:1::1`)
	p.Origin.Sh(`
for n in 7 8 9; do ip addr add 203.0.113.$n/24 dev eth0; ip addr add 2001:db8:9::$n/64 dev eth0 nodad; done
ip addr add 10.77.0.20/32 dev eth0; ip addr add fd77::20/128 dev eth0 nodad; ip link set eth0 up
ip route add 10.99.1.0/24 via 203.0.113.1; ip -6 route add fd99:1::/64 via 2001:db8:9::1`)
	p.Gate.Sh("ip route add 10.77.0.20/32 via 203.0.113.7; ip -6 route add fd77::20/128 via 2001:db8:9::7")
	return p
}
