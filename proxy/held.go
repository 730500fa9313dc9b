package proxy

import (
	"errors"
	"io"
	"time"

	"gatehouse/policy"
)

var errShownLate = errors.New("the body shows itself to be something else than was declared")

// heldBody is a response body whose first bytes are looked at. It belongs to one
// goroutine; only a Read that outlasts the holding of the head runs in another,
// for a Read cannot be given up.
type heldBody struct {
	body   io.ReadCloser
	buf    []byte // read ahead, not yet handed on
	first  []byte // up to headBytes, while they are looked at
	err    error  // what the body said after buf
	flying bool
	flight chan readAhead
	// judge reports whether a family is acceptable; nil once nobody looks.
	judge func(policy.Family) bool
}

type readAhead struct {
	bytes []byte
	err   error
}

func holdBody(body io.ReadCloser, judge func(policy.Family) bool) *heldBody {
	return &heldBody{body: body, judge: judge, flight: make(chan readAhead, 1)}
}

// look reads until the family of the body is settled, or can only be an
// acceptable one, or the body ends, or the time is over. It returns the family
// shown by then.
func (h *heldBody) look(most time.Duration) policy.Family {
	over := time.NewTimer(most)
	defer over.Stop()
	for {
		h.launch()
		select {
		case r := <-h.flight:
			h.land(r)
		case <-over.C:
			family, _ := classify(h.first, false)
			return family
		}
		family, settled := classify(h.first, h.whole())
		harmless := (family == policy.FamilyText || family == policy.FamilyMarkup) && h.judge(family)
		if settled || harmless {
			h.judge = nil
			return family
		}
	}
}

// empty reports whether the body ended without a byte.
func (h *heldBody) empty() bool { return len(h.buf) == 0 && h.err == io.EOF }

func (h *heldBody) whole() bool { return len(h.first) == headBytes || h.err != nil }

func (h *heldBody) launch() {
	h.flying = true
	most := headBytes - len(h.first)
	go func() {
		b := make([]byte, most)
		n, err := h.body.Read(b)
		h.flight <- readAhead{b[:n], err}
	}()
}

func (h *heldBody) land(r readAhead) {
	h.flying = false
	h.buf, h.err = append(h.buf, r.bytes...), r.err
	h.see(r.bytes)
}

func (h *heldBody) see(b []byte) {
	if h.judge != nil {
		h.first = append(h.first, b[:min(len(b), headBytes-len(h.first))]...)
	}
}

// Read implements io.Reader. It ends in errShownLate where bytes that come after
// the head has gone contradict what the head declared.
func (h *heldBody) Read(p []byte) (int, error) {
	if h.flying && len(h.buf) == 0 {
		h.land(<-h.flight)
	}
	n := 0
	switch {
	case len(h.buf) > 0:
		n = copy(p, h.buf)
		h.buf = h.buf[n:]
	case h.err == nil:
		n, h.err = h.body.Read(p)
		h.see(p[:n])
	}
	if h.judge != nil {
		if family, settled := classify(h.first, h.whole()); settled {
			ok := h.judge(family)
			h.judge = nil
			if !ok {
				n, h.buf, h.err = 0, nil, errShownLate
			}
		}
	}
	if len(h.buf) > 0 {
		return n, nil
	}
	return n, h.err
}

// Close implements io.Closer; it waits for a Read in flight, which ends with the
// body.
func (h *heldBody) Close() error {
	err := h.body.Close()
	if h.flying {
		<-h.flight
		h.flying = false
	}
	return err
}
