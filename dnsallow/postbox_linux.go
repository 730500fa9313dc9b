package dnsallow

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// postbox waits for the answers to questions for which no goroutine waits. Their
// sockets are in an epoll set of its own, and the set itself is in Go's poller:
// one goroutine, which occupies no thread, reads what has come, and nothing is
// made for a question but its socket.
type postbox struct {
	set *os.File
	raw syscall.RawConn

	mu      sync.Mutex
	places  []*dispatch // those under way; nil: the place is free
	free    []int32
	rings   time.Time // when the goroutine is woken to look for those that take too long; zero: it is not
	serial  int32
	hurried bool

	room [payload]byte // for packets; a longer one is none that was asked for
}

// slot is where a postbox keeps a dispatch.
type slot struct {
	fd            int
	place, serial int32 // descriptors and places are given again at once, serials late
	until         time.Time
}

// newPostbox makes a postbox; nil where the system has no room for one.
func newPostbox() *postbox {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if unix.SetNonblock(fd, true) != nil { // only then NewFile asks the poller
		unix.Close(fd)
		return nil
	}
	b := &postbox{set: os.NewFile(uintptr(fd), "questions")}
	if b.raw, err = b.set.SyscallConn(); err != nil || b.set.SetReadDeadline(time.Time{}) != nil {
		b.set.Close()
		return nil
	}
	return b
}

// post sends a dispatch off from a socket, and thereby a source port, of its own.
// Until a moment its answer is waited for. Where there is an error nothing is kept.
func (b *postbox) post(d *dispatch, query []byte, to netip.AddrPort, until time.Time) error {
	fd, err := connected(to)
	if err != nil {
		return err
	}
	// Sent first: once it has entered, d and its descriptor are the goroutine's.
	if errno := sendNow(fd, query); errno != 0 {
		syscall.Close(fd)
		return os.NewSyscallError("write", errno)
	}
	d.fd, d.until = fd, until
	if err := b.enter(d); err != nil {
		syscall.Close(fd)
		return err
	}
	return nil
}

// enter gives d a place and puts its socket into the set.
func (b *postbox) enter(d *dispatch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hurried {
		return os.ErrClosed
	}
	if len(b.free) == 0 {
		b.places = append(b.places, nil)
		b.free = append(b.free, int32(len(b.places)-1))
	}
	d.place = b.free[len(b.free)-1]
	b.serial++
	d.serial = b.serial
	err := b.control(unix.EPOLL_CTL_ADD, d.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: d.place, Pad: d.serial})
	if err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	b.free = b.free[:len(b.free)-1]
	b.places[d.place] = d
	if b.rings.IsZero() {
		b.ring(d.until)
	}
	return nil
}

func (b *postbox) control(how, fd int, event *unix.EpollEvent) (err error) {
	failed := b.raw.Control(func(set uintptr) { err = unix.EpollCtl(int(set), how, fd, event) })
	return errors.Join(failed, err)
}

// leave takes d out. Only the goroutine calls it.
func (b *postbox) leave(d *dispatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places[d.place] = nil
	b.free = append(b.free, d.place)
}

// ring has the goroutine woken at a moment.
func (b *postbox) ring(at time.Time) {
	b.rings = at
	b.set.SetReadDeadline(at)
}

// run reads what comes until the postbox is closed.
func (b *postbox) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		err := b.raw.Read(func(set uintptr) (done bool) {
			n, err := unix.EpollWait(int(set), events, 0)
			for _, e := range events[:max(n, 0)] {
				if d := b.at(e.Fd, e.Pad); d != nil {
					b.receive(d)
				}
			}
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			b.giveBack()
		case err != nil:
			return
		}
	}
}

// at is the dispatch that an event is about, nil where it is over.
func (b *postbox) at(place, serial int32) *dispatch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.places[place]; d != nil && d.serial == serial {
		return d
	}
	return nil
}

// receive reads one packet; what else has come the set will tell of again.
func (b *postbox) receive(d *dispatch) {
	n, errno := readNow(d.fd, b.room[:])
	if errno == syscall.EAGAIN {
		return
	}
	var err error
	if errno != 0 {
		err = os.NewSyscallError("read", errno)
	}
	reply, err := d.letter.take(b.room[:max(n, 0)], err)
	if reply == nil && err == nil {
		return
	}
	b.leave(d)
	syscall.Close(d.fd) // which takes it out of the set
	d.settled(reply, err)
}

// giveBack takes out those that take too long, for others to wait for them.
func (b *postbox) giveBack() {
	var late []*dispatch
	b.mu.Lock()
	now, next := time.Now(), time.Time{}
	for _, d := range b.places {
		switch {
		case d == nil:
		case b.hurried || !now.Before(d.until):
			late = append(late, d)
		case next.IsZero() || d.until.Before(next):
			next = d.until
		}
	}
	b.ring(next)
	b.mu.Unlock()
	for _, d := range late {
		b.leave(d)
		b.control(unix.EPOLL_CTL_DEL, d.fd, nil)
		d.letter.socket = os.NewFile(uintptr(d.fd), "udp")
		d.late()
	}
}

// hurry gives back all that are under way, and takes no more.
func (b *postbox) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurried = true
	b.ring(past)
}

// close ends run.
func (b *postbox) close() { b.set.Close() }

// serve runs the postbox, and has it hurry when ctx ends, until stop is called.
func (b *postbox) serve(ctx context.Context) (stop func()) {
	var running sync.WaitGroup
	running.Go(b.run)
	heed := context.AfterFunc(ctx, b.hurry)
	return func() {
		heed()
		b.close()
		running.Wait()
	}
}
