package proxy

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// fullDoor is the listener of a process that has no descriptor left until freed
// is closed. Each attempt in vain is told to tried, which its maker reads.
type fullDoor struct {
	net.Listener
	tried chan struct{}
	freed chan struct{}
}

func (d *fullDoor) Accept() (net.Conn, error) {
	select {
	case <-d.freed:
		return d.Listener.Accept()
	default:
	}
	select {
	case d.tried <- struct{}{}:
	case <-d.freed:
	}
	return nil, accepting(syscall.EMFILE)
}

// accepting is the error of an Accept that failed with errno.
func accepting(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
}

func TestWithoutADescriptorNewClientsWaitAndOldStreamsLive(t *testing.T) {
	t.Parallel()
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
	old := g.get(www, o.Port, "/old")
	stream := o.Take(t)
	stream.Head()
	stream.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	old.Head()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	door := &fullDoor{Listener: ln, tried: make(chan struct{}), freed: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { require.NoError(t, g.server.Serve(ctx, door)) })
	defer serving.Wait()
	defer stop()
	waits := nettest.Dial(t, door.Addr().String())
	waits.Say("GET http://www.example.org:%[1]d/new HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
	for range 3 { // and it is not given up
		<-door.tried
		stream.Chunk("abc")
		old.ExpectChunk("abc")
	}
	close(door.freed)
	fresh := o.Take(t)
	fresh.Head()
	fresh.Say("HTTP/1.1 204 No Content\r\n\r\n")
	require.Contains(t, waits.Head(), "204 No Content")
	stream.Say("0\r\n\r\n")
	old.Expect("0\r\n\r\n")
}

// brokenDoor fails in a way that no waiting mends.
type brokenDoor struct{ net.Listener }

func (brokenDoor) Accept() (net.Conn, error) { return nil, os.ErrInvalid }

func TestADoorThatIsBrokenIsToldToWhoeverServesIt(t *testing.T) {
	t.Parallel()
	g := newGate(t, options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	require.ErrorIs(t, g.server.Serve(t.Context(), brokenDoor{ln}), os.ErrInvalid)
}

func TestOnlyWhatSaysNothingAgainstTheListenerIsWaitedFor(t *testing.T) {
	for errno, waits := range map[syscall.Errno]bool{
		syscall.EMFILE:       true, // this process has no descriptor left
		syscall.ENFILE:       true, // the machine has none
		syscall.ENOBUFS:      true,
		syscall.ENOMEM:       true,
		syscall.ECONNABORTED: true, // the client has gone
		syscall.EPERM:        true, // a firewall forbids this one
		syscall.ENETDOWN:     true, // accept(2): pending on the new socket
		syscall.EBADF:        false,
		syscall.EINVAL:       false, // it does not listen
		syscall.ENOTSOCK:     false,
		syscall.EOPNOTSUPP:   false, // it is no stream
	} {
		require.Equal(t, waits, transient(accepting(errno)), errno.Error())
	}
	require.False(t, transient(net.ErrClosed))
}
