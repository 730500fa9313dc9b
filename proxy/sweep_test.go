package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A read of TLS that has to write for a peer who takes nothing ends with the
// connection and not before: the sweeper is told so, once it had time enough.
func TestAReadThatDoesNotHearTheAlarmIsToldOf(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe() // which holds nothing: what is written waits for its reader
	defer far.Close()
	writes := make(chan struct{}, 1)
	conn := tls.Server(told{near, writes}, originTLS(t))
	go tls.Client(onlyTalks{far}, &tls.Config{InsecureSkipVerify: true}).Handshake()
	var a alarm
	ended := make(chan error, 1)
	a.set(time.Second, conn)
	go func() {
		_, err := conn.Read(make([]byte, 1)) // shakes hands first, and writes for that
		ended <- err
	}()
	<-writes
	now := time.Duration(0)
	require.False(t, a.ring(now, conn), "seen for the first time")
	now += time.Second
	require.False(t, a.ring(now, conn), "rung")
	require.False(t, a.ring(now, conn), "rung for the first time")
	now += deaf - 1
	require.False(t, a.ring(now, conn), "it may be about to end")
	now++
	require.True(t, a.ring(now, conn))
	resetConn(near)
	require.NotErrorIs(t, <-ended, os.ErrDeadlineExceeded)

	a.clear(near)
	require.False(t, a.ring(now, conn), "nothing is read")
	require.False(t, a.ring(now+time.Hour, conn))
}

// onlyTalks never reads.
type onlyTalks struct{ net.Conn }

func (c onlyTalks) Read([]byte) (int, error) { return 0, errors.New("not heard") }

// told tells when something is first written.
type told struct {
	net.Conn
	writes chan<- struct{}
}

func (c told) Write(p []byte) (int, error) {
	select {
	case c.writes <- struct{}{}:
	default:
	}
	return c.Conn.Write(p)
}
