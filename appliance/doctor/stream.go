package doctor

import (
	"context"
	"fmt"
)

// The steps below ask whether the way streams. What a Service Bus agent does (a
// message up that never ends, one down beside it) cannot be done to somebody's
// host without content, so this is asked instead: does an answer come while the
// request is still open? A hop that gathers whole requests lets none through.
// Where nothing comes, either a hop gathers or the place answers whole requests
// only; the same request past the parent proxy tells which.

// lastChunk ends a message in chunked coding (RFC 9112, section 7.1).
const lastChunk = "0\r\n\r\n"

// chunked sends no content in chunked coding, and keeps the end of it back.
func (w *way) chunked(ctx context.Context) *Check {
	return w.streamed(ctx, request{method: "POST", fields: "Transfer-Encoding: chunked\r\n", end: lastChunk}, func(a *answer) *Check {
		if a.held {
			return Fine("", a.words()+" once the request is whole; whether a hop gathers requests cannot be told from such a place")
		}
		return Fine("", fmt.Sprintf("%s while the request is open, after %s: nothing on the way gathers requests", a.words(), ms(a.first)))
	})
}

// expect asks for 100 before it goes on, as .NET does with each POST. A server
// answers at once, with 100 or for good (RFC 9110, section 10.1.1).
func (w *way) expect(ctx context.Context) *Check {
	r := request{method: "POST", fields: "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", end: lastChunk}
	return w.streamed(ctx, r, func(a *answer) *Check {
		switch {
		case a.interim:
			return Fine("", fmt.Sprintf("100 after %s, then %s", ms(a.first), a.words()))
		case a.held:
			return Fine("", fmt.Sprintf("no 100 came within %s; sent without, it %s. A program that waits for 100 loses that time with each POST", ms(w.d.Hold), a.words()))
		}
		return Fine("", fmt.Sprintf("%s in place of 100, after %s", a.words(), ms(a.first)))
	})
}

// streamed asks with a request that is kept open. Where nothing came before its
// end and a parent is on the way, the same is asked past it.
func (w *way) streamed(ctx context.Context, r request, well func(*answer) *Check) *Check {
	if !w.methodListed("POST") {
		return Skipped("", "the rule does not permit POST")
	}
	a, bad := w.tell(ctx, r)
	switch {
	case bad != nil:
		return bad
	case a.held && a.line.Parent != "":
		return w.withheld(ctx, r, a, well)
	}
	c := well(a)
	c.Says = a.through() + c.Says
	return c
}

// withheld says whether it is the parent that keeps a request back.
func (w *way) withheld(ctx context.Context, r request, a *answer, well func(*answer) *Check) *Check {
	past, err := w.past().ask(ctx, r)
	if err == nil && !past.held {
		return Bad("", fmt.Sprintf("the parent proxy %s buffers: nothing came through it while the request was open (%s); past it an answer comes after %s",
			a.line.Parent, ms(a.first), ms(past.first)),
			`Service Bus does not work through it: have these hosts taken out of what it gathers or scans, or go past it by parent = "direct" in the rule`)
	}
	c := well(a)
	c.Says = a.through() + c.Says
	if err != nil {
		c.Says += "; past it the place cannot be asked"
	} else {
		c.Says += "; past it, it is the same"
	}
	return c
}
