//go:build linux

package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// watchdog tells systemd that the gate serves, three times within the time its
// unit grants (WatchdogSec=), and each time only after a look at itself. A gate
// that hangs stays silent, and is started anew.
func (a *Appliance) watchdog(ctx context.Context) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.Log.Warn("systemd's watchdog is not served: what it says of itself cannot be read", "err", err)
	}
	if err != nil || within == 0 {
		return
	}
	every(ctx, within/3, func() {
		switch err := a.serves(ctx, within/3); {
		case err == nil:
			a.notify(daemon.SdNotifyWatchdog)
		case ctx.Err() == nil:
			a.Log.Error("the gate does not attend to a door; systemd starts it anew unless it recovers", "err", err, "within", within)
		}
	})
}

// serves knocks at every TCP door of the proxy, the DNS filter and the admin
// listener, and is nil where each was attended to in time.
func (a *Appliance) serves(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, doors := range [][]net.Listener{a.doors.proxy, a.doors.dnsTCP, a.doors.dnsTLS, {a.doors.admin}} {
		for _, door := range doors {
			if err := knock(ctx, door.Addr()); err != nil {
				return fmt.Errorf("%s: %w", door.Addr(), err)
			}
		}
	}
	return nil
}

// knock opens a connection, says nothing, and waits until the other side hangs
// up. The kernel shakes hands for a process that hangs; only one that accepts and
// reads closes. A connection without a byte is no passage: nothing is recorded.
func knock(ctx context.Context, door net.Addr) error {
	at, ok := door.(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("no TCP address: %s", door)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", reachable(Address{at.AddrPort()}).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	// A gate whose limit is reached says so before it hangs up.
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	return nil
}
