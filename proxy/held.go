package proxy

import (
	"net/http"
	"time"

	"gatehouse/proxy/parent"
)

// A parent proxy that holds a message back until it is whole (to scan it, say) breaks
// what Service Bus does over plain HTTP: one request that does not end carries one
// direction, one answer that does not end the other, and each side waits for what the
// other has said. Nobody says no, so only the silence can be seen, and a destination
// may keep silent too. So nothing is ever refused for it: where the signs are plain,
// and the parent has not been seen to do better, it is said and counted.
const (
	// heldShort is less than the library that Service Bus' older agents use waits
	// for the head of an answer, and for each echo of its trial: 30 seconds. Who
	// gives up sooner has other reasons.
	heldShort = 10 * time.Second
	// heldLong is more than anybody waits who gives up for want of an answer: what
	// lasted longer worked, and has ended.
	heldLong = 3 * time.Minute
	// heldTalk is how many octets at most are sent by who waits to be answered. More
	// is a transfer, which most destinations answer when it is over.
	heldTalk = 4096
)

// errand is a request in the hands of a parent proxy. The zero value is none.
type errand struct {
	parent *parent.Proxy
	since  time.Time
	// stream: it is the half of a stream that comes down (X-WSCONNECT, as the
	// library names it), whose head is sent at once, and whose first octets soon.
	stream bool
	// answered: the head of the final answer has come.
	answered bool
}

// hand notes that a request goes to a parent.
func (e *exchange) hand(w way) {
	e.errand = errand{}
	if w.absolute {
		down := e.head.method == http.MethodGet && !e.head.hasBody() && len(values(&e.head.Fields, "X-WSCONNECT")) > 0
		e.errand = errand{parent: w.parent, since: e.now, stream: down}
	}
}

// unfinished reports whether more of the request is to come, of a length that nobody
// knows: the request of somebody who may want an answer before it ends.
func (e *exchange) unfinished() bool {
	return e.upload != nil && e.upload.chunked && !e.upload.whole.Load()
}

// heedAnswer notes that an answer came, and whether that was before the request had
// ended.
func (e *exchange) heedAnswer(l *link) {
	e.errand.answered = true
	if l.answer.Status/100 == 2 && e.unfinished() {
		l.way.parent.Flows()
	}
}

// heedHeld looks, when an exchange has ended, whether it shows that the parent holds
// streams back.
func (e *exchange) heedHeld() {
	held := e.errand.stream && e.answer.octets == 0 ||
		!e.errand.answered && e.unfinished() && e.upload.sent() <= heldTalk
	if e.errand.parent == nil || !held || e.end != "client-closed" {
		return
	}
	waited := e.server.deps.Now().Sub(e.errand.since)
	if waited < heldShort || waited > heldLong {
		return
	}
	if f := e.errand.parent.Held(waited); f != nil {
		e.parentFailed(f)
	}
}
