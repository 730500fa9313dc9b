// Package epoll waits for many descriptors with one goroutine that occupies no
// thread: it hands on what an epoll set of Linux tells, epoll(7). Elsewhere the
// package is empty.
//
// What the package is not: it neither reads nor closes what stands in a set, nor
// does it know whose key an event carries; that is the owner's.
package epoll
