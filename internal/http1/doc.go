// Package http1 reads and writes HTTP/1.1 heads, chunked bodies and trailers,
// strictly: bytes in, parts or a typed error out.
//
// It follows RFC 9112 and RFC 9110 to the letter and, where they leave a choice
// between mending and refusing, refuses: two readers that mend differently are
// how requests are smuggled. What it emits is built from parsed parts alone; a
// received head is never passed on.
//
// Where it is stricter than it must be: a single LF ends no line (RFC 9112,
// section 2.2 allows it), a repeated Content-Length is refused even if all
// agree (section 6.3), white space before a colon is refused in answers too
// (section 5.1), and so is white space in a chunk line (section 7.1.1). Where it
// is more lenient: some visible characters that a URI must encode pass in a
// target, since browsers send them (see checkTarget), and obs-text passes in
// field values as opaque data (RFC 9110, section 5.5).
//
// The package does no I/O, keeps no time, starts no goroutine and, once a Request
// or Response has seen its first head, allocates nothing (IPv6 literals aside).
// What it hands out are slices of the caller's buffer: they are good only as long
// as that buffer is.
package http1
