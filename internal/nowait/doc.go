// Package nowait makes system calls on non-blocking descriptors. They never wait, so
// that the scheduler need not be told of them, which would cost as much as parsing a
// head: that is what RawSyscall is for. Where races are looked for, reading and writing
// are done in the ordinary way.
//
// What the package is not: it looks after no descriptor. Whoever calls sees to it that
// the descriptor is non-blocking, and is not closed in the meantime and its number
// given to something else.
package nowait
