package http1

import "math"

// ChunkReader follows a chunked body (RFC 9112, section 7.1) through whatever
// pieces it comes in and checks every byte of its framing. It holds no buffer:
// Check lets the bytes pass as they are, Next hands out the data alone. The zero
// value is ready for a body under default limits.
type ChunkReader struct {
	// Limits bounds the trailer section. It is set before the first byte.
	Limits Limits

	state   chunkState
	err     error
	left    int64 // data bytes of the chunk at hand still to come
	data    int64 // data bytes that have passed
	line    int   // length of the size line, or of the trailer section so far
	digits  int
	excess  int64 // bytes of extensions beyond what the data is worth
	fields  int
	nameLen int
	name    [longestName + 1]byte // the beginning of a trailer's name, enough to know it by
}

type chunkState uint8

const (
	// the size line: 1*HEXDIG *( ";" token [ "=" ( token / quoted-string ) ] )
	atSize chunkState = iota
	atExtension
	inExtension
	atExtensionValue
	inExtensionValue
	inQuoted
	inQuotedPair
	afterQuoted
	atSizeLF

	// the data and its end
	inData
	atDataCR
	atDataLF

	// the trailer section: field lines as in a head
	atTrailer
	inTrailerName
	inTrailerValue
	atTrailerLF
	atLastLF

	chunkedDone
)

const (
	// 16 digits hold any size there is.
	mostSizeDigits = 16
	// Nobody knows a chunk extension longer than this.
	mostSizeLine = 256
	// As net/http counts it (and for its reason, CVE-2023-39326): each chunk is
	// granted 16 bytes of framing and two for each byte of data; what goes beyond
	// that must stay below this.
	mostExcess = 16 << 10
)

// Done reports whether the body has come to its end.
func (c *ChunkReader) Done() bool { return c.state == chunkedDone }

// Data is how many bytes of data have passed, without framing.
func (c *ChunkReader) Data() int64 { return c.data }

// Reset makes the reader ready for another body under the same limits.
func (c *ChunkReader) Reset() { *c = ChunkReader{Limits: c.Limits} }

// Check takes bytes as they came from the connection and returns how many of them
// are well-formed and belong to the body: all of them, fewer where the body ends
// (Done; what is left belongs to the next message), or where an Error says what is
// wrong with the byte that follows. How the bytes were cut makes no difference.
// An Error stays: the body can never be complete.
func (c *ChunkReader) Check(p []byte) (n int, err error) {
	for n < len(p) && c.state != chunkedDone {
		m, _, err := c.Next(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, c.err
}

// Last reports whether the last chunk has begun, the one of size 0: all data has
// passed, and trailers may follow. See Next for where it begins.
func (c *ChunkReader) Last() bool { return c.state >= atTrailer }

// Next is Check up to the end of the first run of data, which it returns as a
// slice of p; data is empty where p ends in framing, or the body does, or where
// the size line of the last chunk does: whoever hands bodies on may keep it back
// until it is known to be whole. It is called again with p[n:].
func (c *ChunkReader) Next(p []byte) (n int, data []byte, err error) {
	for n < len(p) && c.err == nil && c.state != chunkedDone {
		if c.state == inData {
			end := n + int(min(c.left, int64(len(p)-n)))
			data = p[n:end]
			c.data += int64(len(data))
			if c.left -= int64(len(data)); c.left == 0 {
				c.state = atDataCR
			}
			return end, data, nil
		}
		before := c.state
		if m := c.plain(p[n:]); m > 0 {
			n += m
		} else if c.err = c.take(p[n]); c.err == nil {
			n++
		}
		if before < atTrailer && c.state == atTrailer {
			break
		}
	}
	return n, nil, c.err
}

// plain takes what nearly all framing consists of in one go: the end of a chunk's
// data, or a size line without extensions that has arrived whole. It returns 0
// where a closer look is due, and never finds fault with anything.
func (c *ChunkReader) plain(p []byte) int {
	const mostDigits = 7 // no sum of such sizes overflows before the look below
	switch {
	case c.state == atDataCR && len(p) > 1 && p[0] == '\r' && p[1] == '\n':
		c.state = atSize
		return 2
	case c.state != atSize || c.digits > 0 || c.data > math.MaxInt64/2:
		return 0
	}
	var size int64
	for i := 0; i < len(p)-1 && i <= mostDigits; i++ {
		d := hexValue(p[i])
		if d > 15 {
			if i == 0 || p[i] != '\r' || p[i+1] != '\n' {
				return 0
			}
			c.left, c.line = size, i
			c.sizeEnd('\n') // never more excess than before: no error
			return i + 2
		}
		size = size<<4 | int64(d)
	}
	return 0
}

// hexValue is a hexadecimal digit's value; 16 or more is none.
func hexValue(b byte) byte {
	if d := b - '0'; d < 10 {
		return d
	}
	if d := b | 0x20 - 'a'; d < 6 {
		return d + 10
	}
	return 16
}

// take reads one byte of framing.
func (c *ChunkReader) take(b byte) error {
	switch {
	case c.state == atSize:
		return c.size(b)
	case c.state < atSizeLF:
		return c.extension(b)
	case c.state == atSizeLF:
		return c.sizeEnd(b)
	case c.state == atDataCR:
		return c.expect(b, '\r', atDataLF, ErrChunkEnd)
	case c.state == atDataLF:
		return c.expect(b, '\n', atSize, ErrChunkEnd)
	}
	if c.line++; c.line > c.Limits.headBytes() {
		return ErrHeadBytes
	}
	return c.trailer(b)
}

func (c *ChunkReader) expect(b, want byte, next chunkState, otherwise Error) error {
	if b != want {
		return otherwise
	}
	c.state = next
	return nil
}

func (c *ChunkReader) size(b byte) error {
	d := hexValue(b)
	switch {
	case d < 16:
	case c.digits == 0:
		return ErrChunkSize
	case b == '\r' || b == ';':
		c.line = c.digits
		return c.extensionEnd(b)
	case b == '\n':
		return ErrBareLF
	default: // white space too: RFC 9112 lets nobody send it (section 7.1.1, BWS)
		return ErrChunkSize
	}
	if c.digits++; c.digits > mostSizeDigits || c.left > math.MaxInt64>>4 {
		return ErrChunkRange
	}
	c.left = c.left<<4 | int64(d)
	return nil
}

// extension reads what stands behind the size. Extensions are bounded, as the
// section on them demands, and pass unread.
func (c *ChunkReader) extension(b byte) error {
	if c.line++; c.line > mostSizeLine {
		return ErrChunkLine
	}
	switch c.state {
	case inQuotedPair:
		if !is(b, classValue) {
			return badExtension(b)
		}
		c.state = inQuoted
		return nil
	case inQuoted:
		switch {
		case b == '"':
			c.state = afterQuoted
		case b == '\\':
			c.state = inQuotedPair
		case !is(b, classValue):
			return badExtension(b)
		}
		return nil
	case atExtension, atExtensionValue:
		switch {
		case is(b, classToken):
			c.state++ // in what it was at
		case b == '"' && c.state == atExtensionValue:
			c.state = inQuoted
		default:
			return badExtension(b)
		}
		return nil
	case inExtension, inExtensionValue:
		if is(b, classToken) {
			return nil
		}
		if b == '=' && c.state == inExtension {
			c.state = atExtensionValue
			return nil
		}
	}
	return c.extensionEnd(b)
}

func (c *ChunkReader) extensionEnd(b byte) error {
	switch b {
	case ';':
		c.state = atExtension
	case '\r':
		c.state = atSizeLF
	default:
		return badExtension(b)
	}
	return nil
}

func badExtension(b byte) error {
	if b == '\n' {
		return ErrBareLF
	}
	return ErrChunkExtension
}

// sizeEnd reads the LF of a size line and weighs the line against its data.
func (c *ChunkReader) sizeEnd(b byte) error {
	if b != '\n' {
		return ErrBareCR
	}
	if c.left > math.MaxInt64-c.data {
		return ErrChunkRange
	}
	c.excess += int64(c.line) + 2 - 16 - 2*min(c.left, mostExcess)
	if c.excess = max(c.excess, 0); c.excess > mostExcess {
		return ErrChunkOverhead
	}
	c.digits, c.line = 0, 0
	if c.state = inData; c.left == 0 {
		c.state = atTrailer
	}
	return nil
}

// trailer reads the field lines after the last chunk, by the rules of Fields.
func (c *ChunkReader) trailer(b byte) error {
	switch c.state {
	case atTrailer:
		return c.trailerStart(b)
	case inTrailerName:
		return c.trailerName(b)
	case inTrailerValue:
		switch {
		case b == '\r':
			c.state = atTrailerLF
		case b == '\n':
			return ErrBareLF
		case !is(b, classValue):
			return ErrFieldValue
		}
		return nil
	case atTrailerLF:
		return c.expect(b, '\n', atTrailer, ErrBareCR)
	}
	return c.expect(b, '\n', chunkedDone, ErrBareCR)
}

func (c *ChunkReader) trailerStart(b byte) error {
	switch {
	case b == '\r':
		c.state = atLastLF
		return nil
	case b == '\n':
		return ErrBareLF
	case (b == ' ' || b == '\t') && c.fields == 0:
		return ErrLeadingSpace
	case b == ' ' || b == '\t':
		return ErrObsFold
	case !is(b, classToken):
		return ErrFieldName
	case c.fields >= c.Limits.fields():
		return ErrFieldCount
	}
	c.fields++
	c.state, c.nameLen, c.name[0] = inTrailerName, 1, b
	return nil
}

func (c *ChunkReader) trailerName(b byte) error {
	switch {
	case is(b, classToken):
		if c.nameLen < len(c.name) {
			c.name[c.nameLen] = b
			c.nameLen++
		}
		return nil
	case b == '\n':
		return ErrBareLF
	case b == '\r':
		return ErrFieldColon
	case b != ':':
		return badName(b)
	case nameTable[nameOf(c.name[:c.nameLen])].early:
		return ErrTrailerName
	}
	c.state = inTrailerValue
	return nil
}
