package proxy

import "gatehouse/internal/http1"

// chunkedBody checks a chunked body that is handed on unchanged. The end of the
// last chunk's size line, and what follows, is kept back until the whole trailer
// section has come and is well-formed: there are readers that take a size of 0
// for the end.
type chunkedBody struct {
	http1.ChunkReader
	tail []byte // kept back
}

// take checks the next piece. n bytes of it belong to the body, and pass, good
// until the next call, is what may go on now. Each run of data is shown to content,
// if it is not nil, before it passes; an error of it ends the body.
func (b *chunkedBody) take(piece []byte, content func([]byte) error) (n int, pass []byte, err error) {
	last := b.Last()
	end := 0 // of what may pass
	for n < len(piece) && !b.Done() {
		m, data, err := b.Next(piece[n:])
		if err == nil && content != nil && len(data) > 0 {
			err = content(data)
		}
		if err != nil {
			return n, piece[:end], err
		}
		n += m
		if !last {
			if end = n; b.Last() {
				last, end = true, max(n-2, 0) // before its CR LF
			}
		}
	}
	switch {
	case !last:
		return n, piece[:end], nil
	case b.Done() && len(b.tail) == 0:
		return n, piece[:n], nil
	}
	b.tail = append(b.tail, piece[end:n]...)
	if b.Done() {
		return n, b.tail, nil
	}
	return n, piece[:end], nil
}
