//go:build !linux

package keeper

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// set is nothing where there is no epoll: all tunnels are copied.
type set struct{}

func newSet() *set { return nil }

func (s *set) close() {}

func (k *Keeper) watch() {}

func (t *Tunnel) keep([]byte) bool { return false }

// Conn is nothing where there is no set to wait for it.
type Conn struct{}

// Dial always fails with errors.ErrUnsupported.
func (k *Keeper) Dial(context.Context, netip.AddrPort, time.Duration) (*Conn, error) {
	return nil, errors.ErrUnsupported
}

// Close does nothing.
func (c *Conn) Close() error { return nil }

// TCP always fails with errors.ErrUnsupported.
func (c *Conn) TCP() (*net.TCPConn, error) { return nil, errors.ErrUnsupported }

// JoinConn is not to be called, for nobody has a Conn.
func (k *Keeper) JoinConn(client net.Conn, origin *Conn, done func(Result)) *Tunnel {
	panic("keeper: there are no Conns on this system")
}

func (s *side) closeWriteBare() {}
func (s *side) closeBare()      {}
func (s *side) resetBare()      {}
func (s *side) keepAlive()      {}
func (t *Tunnel) dress() bool   { return false }
