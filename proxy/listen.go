package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
)

// Serve takes connections from ln until ctx ends or Shutdown is called; then it
// closes ln and returns nil. It returns an error where the listener itself
// fails. Connections it took go on until they end or Shutdown ends them.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.take(ctx, ln, func(conn net.Conn) { s.accept(newClientConn(s, conn)) })
}

// take hands each connection to accept.
func (s *Server) take(ctx context.Context, ln net.Listener, accept func(net.Conn)) error {
	if !s.attend(ln) {
		return ln.Close()
	}
	defer s.leave(ln)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var told time.Time
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			accept(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		case !transient(err):
			return err
		default:
			// Out of descriptors or of memory: the old connections live on,
			// and this one waits in the kernel's queue.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if now := s.deps.Now(); now.Sub(told).Abs() >= time.Minute {
				s.deps.Log.Warn("cannot accept connections for now", "listener", ln.Addr().String(), "error", err)
				told = now
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

func (s *Server) attend(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

func (s *Server) leave(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	ln.Close()
}

// passing are the errors of accept(2) that say nothing against the listener: the
// process or the machine is out of something, a client has gone before it was taken,
// or, on Linux, an error of the network that is already pending on the new socket,
// to be treated "like EAGAIN by retrying".
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPERM, // a firewall forbids it
	syscall.EINTR, syscall.EAGAIN, syscall.ETIMEDOUT,
	syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
}

// transient reports whether Accept may succeed later.
func transient(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}
