package epoll

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// pair is a socket to be watched, and one that writes to it.
func pair(t *testing.T) (watched, far int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func newSet(t *testing.T) *Set {
	s, err := New("test")
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// waiter runs Wait, and passes on the keys of the events before handle has its way
// with them.
func waiter(s *Set, handle func(key uint64) (left bool)) (keys <-chan uint64, ended <-chan error) {
	heard, over := make(chan uint64, 64), make(chan error, 1)
	go func() {
		over <- s.Wait(func(events []unix.EpollEvent) (left bool) {
			for i := range events {
				key := Key(&events[i])
				heard <- key
				left = handle(key) || left
			}
			return left
		})
	}()
	return heard, over
}

func say(t *testing.T, fd int) {
	_, err := unix.Write(fd, []byte("x"))
	require.NoError(t, err)
}

func TestAnEventCarriesTheKeyOfItsDescriptor(t *testing.T) {
	s := newSet(t)
	for _, key := range []uint64{0, 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 | 7} {
		watched, far := pair(t)
		require.NoError(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), key, unix.EPOLLIN|unix.EPOLLET))
		say(t, far)
		keys, ended := waiter(s, func(uint64) bool { return false })
		require.Equal(t, key, <-keys)
		require.NoError(t, s.SetDeadline(time.Unix(1, 0)))
		require.ErrorIs(t, <-ended, os.ErrDeadlineExceeded)
		require.NoError(t, s.SetDeadline(time.Time{}))
		require.NoError(t, s.Control(unix.EPOLL_CTL_DEL, uintptr(watched), 0, 0))
	}
}

func TestAnEdgeThatComesWhileTheLastIsHandledIsNotLost(t *testing.T) {
	s := newSet(t)
	watched, far := pair(t)
	require.NoError(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), 1, unix.EPOLLIN|unix.EPOLLET))
	goOn := make(chan struct{})
	keys, ended := waiter(s, func(uint64) bool { <-goOn; return false })
	for range 100 {
		say(t, far)
		<-keys
		say(t, far) // it is being handled
		goOn <- struct{}{}
		<-keys
		goOn <- struct{}{}
	}
	require.NoError(t, s.Close())
	require.Error(t, <-ended)
}

func TestWhatIsLeftIsToldOfAgain(t *testing.T) {
	s := newSet(t)
	watched, far := pair(t)
	const packets = 100
	for range packets {
		say(t, far)
	}
	keys, ended := waiter(s, func(uint64) bool { // one packet a turn, as long as there are any
		var room [1]byte
		unix.Read(watched, room[:])
		return true
	})
	require.NoError(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), 1, unix.EPOLLIN))
	for range packets {
		<-keys
	}
	require.NoError(t, s.Close())
	require.Error(t, <-ended)
	require.Empty(t, keys, "of nothing there is no news")
}

func TestMoreDescriptorsThanFitInOneLotAreAllToldOf(t *testing.T) {
	s := newSet(t)
	const many = lot + 1
	for key := range uint64(many) {
		watched, far := pair(t)
		require.NoError(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), key, unix.EPOLLIN|unix.EPOLLET))
		say(t, far)
	}
	keys, ended := waiter(s, func(uint64) bool { return false })
	seen := map[uint64]bool{}
	for len(seen) < many {
		seen[<-keys] = true
	}
	require.NoError(t, s.Close())
	require.Error(t, <-ended)
}

func TestADeadlineEndsAWaitAndTheSetCanBeWaitedForAgain(t *testing.T) {
	s := newSet(t)
	watched, far := pair(t)
	require.NoError(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), 1, unix.EPOLLIN))
	_, ended := waiter(s, func(uint64) bool { return false })
	require.NoError(t, s.SetDeadline(time.Unix(1, 0))) // which has passed
	require.ErrorIs(t, <-ended, os.ErrDeadlineExceeded)
	require.NoError(t, s.SetDeadline(time.Time{}))
	keys, ended := waiter(s, func(uint64) bool { return false })
	say(t, far)
	<-keys
	require.NoError(t, s.Close())
	require.Error(t, <-ended)
}

func TestAClosedSetTakesNothing(t *testing.T) {
	s := newSet(t)
	watched, _ := pair(t)
	_, ended := waiter(s, func(uint64) bool { return false })
	require.NoError(t, s.Close())
	require.NotErrorIs(t, <-ended, os.ErrDeadlineExceeded)
	require.ErrorIs(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), 1, unix.EPOLLIN), os.ErrClosed)
	require.ErrorIs(t, s.Close(), os.ErrClosed)
}

// Whoever handles an event may change the set, also while it is being closed.
func TestTheSetCanBeChangedWhileItIsClosed(t *testing.T) {
	s := newSet(t)
	watched, far := pair(t)
	require.NoError(t, s.Control(unix.EPOLL_CTL_ADD, uintptr(watched), 1, unix.EPOLLIN|unix.EPOLLET))
	var change error
	keys, ended := waiter(s, func(uint64) bool {
		for change == nil { // until Close is under way, which waits for this
			change = s.Control(unix.EPOLL_CTL_MOD, uintptr(watched), 1, unix.EPOLLIN|unix.EPOLLET)
		}
		return false
	})
	say(t, far)
	<-keys
	require.NoError(t, s.Close())
	require.Error(t, <-ended)
	require.ErrorIs(t, change, os.ErrClosed)
}

func TestTheSystemsRefusalIsNamed(t *testing.T) {
	s := newSet(t)
	watched, _ := pair(t)
	err := s.Control(unix.EPOLL_CTL_MOD, uintptr(watched), 1, unix.EPOLLIN)
	require.ErrorIs(t, err, unix.ENOENT)
	require.ErrorContains(t, err, "epoll_ctl")
}
