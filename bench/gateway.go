package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Redirected connections: clients connect to the tcp service, and the kernel turns
// them to the program. That takes a firewall, so the scenario has a network namespace
// of its own, with loopback and nothing else, and takes root.

// redirectedClient is where the clients of the scenario are: by that the kernel tells
// their connections from those that the program opens to the same service.
const redirectedClient = "127.0.0.20"

// cannotRedirect is why the scenario cannot be run here, which is found out by trying;
// empty: it can.
func cannotRedirect() string {
	if os.Geteuid() != 0 {
		return "connections are redirected in a network namespace, which takes root"
	}
	if _, err := lookPath("nft"); err != nil {
		return "connections are redirected by nft, which is not installed"
	}
	n, err := newNetwork()
	if err != nil {
		return err.Error()
	}
	defer n.file.Close()
	nobody := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	if err := n.in(func() error { return redirect(context.Background(), &nobody, nobody.String()) }); err != nil {
		return err.Error()
	}
	return ""
}

// network is a network namespace. It ends when nothing is in it any more.
type network struct{ file *os.File }

// newNetwork makes one in which loopback is up.
func newNetwork() (n network, err error) {
	failed := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		if n.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
			return err
		}
		return loopbackUp()
	})
	return n, failed
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo)
}

// in does something with the sockets of the network.
func (n network) in(do func() error) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return do()
	})
}

// enter puts the calling thread into the network, for good.
func (n network) enter() error {
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace: %w", err)
	}
	return nil
}

// onThread runs do on a thread of its own, which ends with it.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- do()
	}()
	return <-done
}

// visitor is a client in a network: a goroutine that keeps its thread there.
type visitor struct {
	work
	failed error
}

func (n network) visit(w work) work {
	runtime.LockOSThread() // until the goroutine of the client ends
	return visitor{w, n.enter()}
}

func (v visitor) step() (int64, error) {
	if v.failed != nil {
		return 0, v.failed
	}
	return v.work.step()
}

// measureRedirected: a connection as a client opens it to the tcp service, and bytes
// without end through one.
func measureRedirected(ctx context.Context, b *bench, other *instance) (values, error) {
	n, err := newNetwork()
	if err != nil {
		return nil, err
	}
	defer n.file.Close()
	var s *site
	var i *instance
	err = n.in(func() (err error) {
		if s, err = newSite(); err == nil {
			i, err = other.target.start(ctx, s, b.dir, b.cpu, b.plan.Few, false)
		}
		if err == nil {
			err = redirect(ctx, s.tunnel, i.route.redirected)
		}
		if err == nil && i.route.proxy { // it goes by the names it has answered
			err = askName(i.route.names, originName)
		}
		return err
	})
	if s != nil {
		defer s.Close()
	}
	if i != nil {
		defer i.stop()
	}
	if err != nil {
		return nil, err
	}
	way := i.route
	way.tunnel, way.proxy, way.from = s.tunnel.String(), false, redirectedClient
	cpu, ops, err := perOperation(ctx, b.plan, b.plan.Clients, i, func(until time.Time) work {
		return n.visit(knocking{ctx, way, until})
	})
	if err != nil {
		return nil, err
	}
	found := values{"gateway": microseconds(cpu, ops)}
	cpu, bytes, err := perOperation(ctx, b.plan, 1, i, func(until time.Time) work {
		return n.visit(&drinking{ctx: ctx, route: way, until: until, buffer: make([]byte, 256<<10)})
	})
	if err != nil {
		return nil, err
	}
	found["gateway-bulk"] = cpu.Seconds() / (bytes / (1 << 30))
	return found, nil
}

// redirect has the kernel turn the clients' connections with the service to a program.
func redirect(ctx context.Context, service *net.TCPAddr, program string) error {
	nft, err := lookPath("nft")
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, nft, "-f", "-")
	c.Stdin = strings.NewReader(fmt.Sprintf(`table ip bench {
	chain output {
		type nat hook output priority -100; policy accept;
		ip saddr %s ip daddr %s tcp dport %d dnat to %s
	}
}
`, redirectedClient, service.IP, service.Port, program))
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("redirecting connections: %w: %s", err, said)
	}
	return nil
}

// askName asks a name server for an address of a name, as the clients do.
func askName(server, name string) error {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(redirectedClient)}, Timeout: patience}
	c, err := d.Dial("udp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packet, err := query.Pack()
	if err != nil {
		return err
	}
	if _, err := c.Write(packet); err != nil {
		return err
	}
	reply := make([]byte, 1500)
	size, err := c.Read(reply)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", name, err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(reply[:size]); err != nil {
		return err
	}
	if len(m.Answers) == 0 {
		return errors.New("the name that clients are redirected for was not answered")
	}
	return nil
}
