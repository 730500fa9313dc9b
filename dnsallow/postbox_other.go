//go:build !linux

package dnsallow

import (
	"context"
	"net/netip"
	"time"
)

// postbox is for Linux; elsewhere there is none, and goroutines wait.
type postbox struct{}

func newPostbox() *postbox { return nil }

func (*postbox) post(*dispatch, []byte, netip.AddrPort, time.Time) error { return nil }

func (*postbox) serve(context.Context) (stop func()) { return func() {} }
