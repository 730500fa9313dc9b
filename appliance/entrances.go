//go:build linux

package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/appliance/doctor"
	"gatehouse/proxy"
	"gatehouse/rules"
)

// entrances are the published doors. They come and go with the rules, and one that
// cannot be opened keeps nobody else from serving.
type entrances struct {
	gate *proxy.Server
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	ended   bool // the appliance stops: no door opens any more
	open    map[entranceKey]*entrance
	trouble map[entranceKey]error // why one is not open, or not as it should be
}

// entranceKey is what makes two doors the same: one that stays the same is not
// interrupted by new rules.
type entranceKey struct {
	name string
	at   netip.AddrPort
	tls  rules.TLSFiles // zero: plain HTTP
}

func (k entranceKey) String() string { return fmt.Sprintf("publish %s at %s", k.name, k.at) }

// entrance is an open one.
type entrance struct {
	door   *proxy.Entrance
	ln     net.Listener
	shown  *shownPair // nil: plain HTTP
	stop   context.CancelFunc
	served chan struct{} // closed when nothing more is taken from ln
}

func newEntrances(gate *proxy.Server, log *slog.Logger, now func() time.Time) *entrances {
	return &entrances{gate: gate, log: log, now: now, open: map[entranceKey]*entrance{}, trouble: map[entranceKey]error{}}
}

// follow opens and closes doors as the rules in force have it, and looks after those
// that are open. What could not be opened is tried again each time.
func (e *entrances) follow(list []rules.Publish) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	wanted := map[entranceKey]bool{}
	for _, p := range list {
		for _, at := range p.Listen {
			wanted[doorKeyOf(p, at)] = true
		}
	}
	maps.DeleteFunc(e.trouble, func(k entranceKey, _ error) bool { return !wanted[k] })
	for k, d := range e.open { // first, for what comes may stand where something goes
		if !wanted[k] {
			delete(e.open, k)
			d.close()
			e.gate.Evict(d.door)
			e.log.Info("a published door is closed", "publish", k.name, "address", d.ln.Addr().String())
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(wanted), func(a, b entranceKey) int { return strings.Compare(a.String(), b.String()) }) {
		if d := e.open[k]; d != nil {
			e.note(k, d.shown.renew(e.now()))
			continue
		}
		d, err := e.admit(k)
		if err == nil {
			e.open[k] = d
			e.log.Info("a published door is open", "publish", k.name, "address", d.ln.Addr().String(), "tls", d.shown != nil)
		}
		e.note(k, err)
	}
}

func doorKeyOf(p rules.Publish, at netip.AddrPort) entranceKey {
	k := entranceKey{name: p.Name, at: at}
	if p.TLS != nil {
		k.tls = *p.TLS
	}
	return k
}

// note keeps what is wrong with a door in view, and tells the log when that changes.
func (e *entrances) note(k entranceKey, err error) {
	before := e.trouble[k]
	if err == nil {
		delete(e.trouble, k)
		return
	}
	if e.trouble[k] = err; before == nil || before.Error() != err.Error() {
		e.log.Error("a published door is not as the rules have it; everything else is served", "publish", k.name, "address", k.at, "err", err)
	}
}

// admit opens a door.
func (e *entrances) admit(k entranceKey) (*entrance, error) {
	d := &entrance{door: &proxy.Entrance{Name: k.name}, served: make(chan struct{})}
	if k.tls != (rules.TLSFiles{}) {
		shown, err := newShownPair(k.tls, e.now())
		if err != nil {
			return nil, fmt.Errorf("it is not served: its certificate cannot be used: %w", err)
		}
		d.shown, d.door.TLS = shown, shown.config(e.now)
	}
	var err error
	if d.ln, err = listenTCP(k.at.String()); err != nil {
		return nil, fmt.Errorf("it is not served: %w", withHint(err))
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() {
		err := e.gate.ServePublish(ctx, d.ln, d.door)
		close(d.served) // before the lock is asked for: its holder may wait for this
		if err != nil {
			e.log.Error("a published door failed; it is opened again", "publish", k.name, "err", err)
			e.failed(k, d)
		}
	}()
	return d, nil
}

// failed forgets a door whose listener has failed, so that it is opened anew.
func (e *entrances) failed(k entranceKey, d *entrance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open[k] == d {
		delete(e.open, k)
	}
}

// withHint says what to do about an address that cannot be listened at.
func withHint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; ports below 1024 need the right to: CAP_NET_BIND_SERVICE", err)
	case strings.Contains(err.Error(), "cannot assign"):
		return fmt.Errorf("%w; is it an address of this machine?", err)
	}
	return fmt.Errorf("%w; is another program using it?", err)
}

// close takes no more connections, and returns when the last one has been taken.
func (d *entrance) close() {
	d.stop()
	d.ln.Close()
	<-d.served
}

// close takes no more connections at any door. Open requests may end by themselves:
// that is the gate's to see to.
func (e *entrances) close() {
	e.mu.Lock()
	e.ended = true
	all := slices.Collect(maps.Values(e.open))
	e.mu.Unlock() // a door that fails just now wants it
	for _, d := range all {
		d.close()
	}
}

// listeners are those of the open doors.
func (e *entrances) listeners() (list []net.Listener) {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.open {
		list = append(list, d.ln)
	}
	return list
}

// addresses are where the doors are, in order.
func (e *entrances) addresses() (list []string) {
	for _, ln := range e.listeners() {
		list = append(list, ln.Addr().String())
	}
	slices.Sort(list)
	return list
}

// state says where the doors are, and which are not as the rules have them.
func (e *entrances) state() (lines []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, err := range e.trouble {
		lines = append(lines, fmt.Sprintf("warning: %s: %v", k, err))
	}
	for k, d := range e.open {
		line := fmt.Sprintf("published: %s at %s", k.name, d.ln.Addr())
		if d.shown != nil {
			line += ", over TLS"
		}
		lines = append(lines, line)
		if words := d.shown.ending(e.now()); words != "" && e.trouble[k] == nil {
			lines = append(lines, fmt.Sprintf("warning: %s: %s", k, words))
		}
	}
	slices.Sort(lines)
	return lines
}

// checks say of each door whether it is open.
func (e *entrances) checks() (checks []*doctor.Check) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, err := range e.trouble {
		checks = append(checks, doctor.Bad(k.String(), err.Error(), "mend it; it is tried again each second"))
	}
	for k, d := range e.open {
		if e.trouble[k] == nil {
			checks = append(checks, doctor.Fine(k.String(), "is open at "+d.ln.Addr().String()))
		}
	}
	return inOrder(checks)
}

// closed are the checks of the doors that are not open for another reason than their
// certificate, which is told of by itself.
func (e *entrances) closed() (checks []*doctor.Check) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, err := range e.trouble {
		if fault := (pairFault{}); e.open[k] == nil && !errors.As(err, &fault) {
			checks = append(checks, doctor.Bad(k.String(), err.Error(), "mend it; it is tried again each second"))
		}
	}
	return inOrder(checks)
}

// certificates are those of the doors over TLS, in the order of their names.
func (e *entrances) certificates() (all []doorCertificate) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, err := range e.trouble {
		if fault := (pairFault{}); errors.As(err, &fault) {
			w := doorCertificate{name: k.String(), trouble: err}
			if d := e.open[k]; d != nil && d.shown != nil {
				w.leaf = d.shown.current.Load().Leaf
			}
			all = append(all, w)
		}
	}
	for k, d := range e.open {
		if d.shown != nil && e.trouble[k] == nil {
			all = append(all, doorCertificate{name: k.String(), leaf: d.shown.current.Load().Leaf})
		}
	}
	slices.SortFunc(all, func(a, b doorCertificate) int { return strings.Compare(a.name, b.name) })
	return all
}

func inOrder(checks []*doctor.Check) []*doctor.Check {
	slices.SortFunc(checks, func(a, b *doctor.Check) int { return strings.Compare(a.Name, b.Name) })
	return checks
}

// tlsOf is how a published door speaks TLS: as devices of many years do. Each write is
// a record, so that what the server sends at once arrives at once.
func tlsOf(certificate func() *tls.Certificate, now func() time.Time) *tls.Config {
	return &tls.Config{
		Time: now, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(), nil },
	}
}
