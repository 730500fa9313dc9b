package proxy

import (
	"bufio"
	"errors"
	"io"
	"os"
	"time"

	"gatehouse/internal/http1"
	"gatehouse/policy"
	"gatehouse/proxy/parent"
)

var errShownLate = errors.New("the body shows itself to be something else than was declared")

// download passes an answer's body on as it comes, while its framing is checked.
type download struct {
	client *clientConn
	link   *link

	kind   http1.BodyKind
	left   int64 // bytes to come, of a Sized body
	chunks chunkedBody
	octets int64 // of content so far

	wrap       bool // it ends with the origin's connection: the client gets chunks
	pick       bool // the client does not know chunks: it gets the content
	untilClose bool // the client's connection ends with the body

	flows *parent.Proxy // told when a part of the body has come; nil: nobody is

	over  bool  // the body has come to its end
	ended error // what the connection said behind what is buffered

	first   []byte   // up to headBytes of content, while it is looked at
	codings []string // through which it is looked at
	// judge reports whether a family is acceptable; nil once nobody looks.
	judge func(policy.Family) bool
}

// run writes what is in the client's out, the head, and then the body: each
// piece that is read is one write, and what came together with the head goes
// together with it.
func (d *download) run() error {
	c, in := d.client, &d.link.in
	d.over = d.kind == http1.NoBody || d.kind == http1.Sized && d.left == 0
	for !d.over {
		if in.Buffered() == 0 {
			if err := c.flush(); err != nil {
				return err
			}
			if err := d.more(); err != nil {
				return err
			}
		}
		piece := in.pending()
		n, pass, err := d.take(piece)
		switch {
		case d.wrap:
			c.out = http1.AppendChunk(c.out, pass)
		case d.pick:
		case len(c.out) > 0:
			c.out = append(c.out, pass...)
		case len(pass) > 0:
			if err := c.write(pass); err != nil {
				return err
			}
		}
		in.Discard(n)
		if err != nil {
			c.flush()
			return err
		}
	}
	if d.wrap {
		c.out = http1.AppendLastChunk(c.out)
	}
	return c.flush()
}

// more waits for more of the body.
func (d *download) more() error {
	if d.flows != nil && d.octets > 0 {
		d.flows.Flows()
		d.flows = nil
	}
	err := d.ended
	if err == nil {
		_, err = d.link.in.Peek(1)
	}
	switch {
	case err == io.EOF && d.kind == http1.UntilClose:
		d.over = true
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// take checks the next piece. n bytes of it belong to the body, and pass is what
// may go on now.
func (d *download) take(piece []byte) (n int, pass []byte, err error) {
	switch d.kind {
	case http1.Chunked:
		content := d.content
		if d.judge == nil && !d.pick {
			content = nil
		}
		n, pass, err = d.chunks.take(piece, content)
		d.octets, d.over = d.chunks.Data(), d.chunks.Done()
		if d.judge != nil && d.over && err == nil { // short, and all of it seen
			if err = d.content(nil); err != nil {
				pass = nil
			}
		}
		return n, pass, err
	case http1.Sized:
		n = int(min(d.left, int64(len(piece))))
		d.left -= int64(n)
		d.over = d.left == 0
	default:
		n = len(piece)
	}
	d.octets += int64(n)
	if err := d.content(piece[:n]); err != nil {
		return n, nil, err
	}
	return n, piece[:n], nil
}

// content looks at what the body says, as long as somebody does, and picks it out
// for a client that cannot.
func (d *download) content(b []byte) error {
	if d.judge != nil {
		d.first = append(d.first, b[:min(len(b), headBytes-len(d.first))]...)
		whole := len(d.first) == headBytes || d.over
		if family, settled := d.family(d.first, whole); settled {
			judge := d.judge
			d.judge = nil
			if !judge(family) {
				return errShownLate
			}
		}
	}
	if d.pick {
		d.client.out = append(d.client.out, b...)
	}
	return nil
}

// look waits until the family of the body is settled, or can only be an
// acceptable one, or the body ends, or the time is over. It takes nothing. It
// returns the family shown by then, and whether the body turned out empty.
func (d *download) look(most time.Duration) (family policy.Family, empty bool) {
	until, in := time.Now().Add(most), &d.link.in
	for {
		piece := in.pending()
		first, whole := d.preview(piece)
		family, settled := d.family(first, whole)
		if settled || d.harmless(family) {
			d.judge = nil
			return family, d.isEmpty(first)
		}
		d.link.conn.SetReadDeadline(until)
		_, err := in.Peek(len(piece) + 1)
		d.link.conn.SetReadDeadline(time.Time{})
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded), err == bufio.ErrBufferFull:
			return family, false // judged again as more of it comes
		default:
			d.ended = err
		}
	}
}

// harmless reports whether all that a body can still turn out to be is acceptable:
// what begins as text, text or markup; what begins as markup, that.
func (d *download) harmless(soFar policy.Family) bool {
	switch soFar {
	case policy.FamilyText:
		return d.judge(policy.FamilyText) && d.judge(policy.FamilyMarkup)
	case policy.FamilyMarkup:
		return d.judge(policy.FamilyMarkup)
	}
	return false
}

// preview is the beginning of the content in a piece that is not taken yet; whole
// says that no more than this will be looked at.
func (d *download) preview(piece []byte) (first []byte, whole bool) {
	whole = d.ended != nil
	switch d.kind {
	case http1.Chunked:
		chunks := d.chunks.ChunkReader
		for n := 0; n < len(piece) && len(first) < headBytes; {
			m, data, err := chunks.Next(piece[n:])
			first = append(first, data...)
			if n += m; err != nil || chunks.Done() {
				whole = true
				break
			}
		}
	case http1.Sized:
		first = piece[:min(d.left, int64(len(piece)))]
		whole = whole || int64(len(first)) == d.left
	default:
		first = piece
	}
	if len(first) >= headBytes {
		return first[:headBytes], true
	}
	return first, whole
}

// isEmpty reports whether a body whose whole content is first came to an orderly
// end without a byte.
func (d *download) isEmpty(first []byte) bool {
	if len(first) > 0 {
		return false
	}
	if d.kind == http1.Chunked {
		piece := d.link.in.pending()
		chunks := d.chunks.ChunkReader
		chunks.Check(piece)
		return chunks.Done()
	}
	return d.ended == io.EOF
}
