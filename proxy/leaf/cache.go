package leaf

import (
	"container/list"
	"crypto/tls"
	"sync"
	"time"

	"gatehouse/policy"
)

// most bounds the hosts whose certificates are kept; the one that was not asked
// for longest goes first. 8,192 of them take about 10 MB.
const most = 8192

// Mint signs certificates for hosts and keeps them. It is safe for concurrent
// use: however many ask for a host at one time, its certificate is made once.
type Mint struct {
	signer
	now func() time.Time

	mu     sync.Mutex
	leaves map[policy.Host]*list.Element // of *leaf
	order  list.List                     // what was asked for last is in front
}

// leaf is one certificate, made by whoever asks first.
type leaf struct {
	host  policy.Host
	since time.Time // when it was asked for
	made  func() (*tls.Certificate, error)
}

// New makes a Mint under a CA, whose first certificate must be that of its key.
// The private key of the leaves is made now and never leaves the process. now is
// the clock, nil for time.Now.
func New(issuer tls.Certificate, now func() time.Time) (*Mint, error) {
	s, err := newSigner(issuer)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Mint{signer: s, now: now, leaves: map[policy.Host]*list.Element{}}, nil
}

// Certificate is the certificate for a host. It is shared: nobody may change it.
// The error says that the CA is not valid now.
func (m *Mint) Certificate(host policy.Host) (*tls.Certificate, error) {
	l := m.take(host)
	cert, err := l.made()
	if err != nil {
		m.drop(l)
	}
	return cert, err
}

// take finds the leaf of a host, or puts one there that is still to be made.
func (m *Mint) take(host policy.Host) *leaf {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.leaves[host]; e != nil {
		m.order.MoveToFront(e)
		l := e.Value.(*leaf)
		if age := now.Sub(l.since); age < ahead/2 && age > -behind/2 {
			return l
		}
		m.remove(e)
	}
	l := &leaf{host: host, since: now, made: sync.OnceValues(func() (*tls.Certificate, error) { return m.sign(host, now) })}
	m.leaves[host] = m.order.PushFront(l)
	if m.order.Len() > most {
		m.remove(m.order.Back())
	}
	return l
}

func (m *Mint) remove(e *list.Element) {
	delete(m.leaves, m.order.Remove(e).(*leaf).host)
}

// drop forgets a leaf that could not be made, so that the next who asks tries
// again.
func (m *Mint) drop(l *leaf) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.leaves[l.host]; e != nil && e.Value == l {
		m.remove(e)
	}
}
