// Package trust opens TLS connections to origins and holds them to their
// certificates: the name, the chain, the dates, and a stapled word of revocation.
// What is wrong comes as a Fault, in words that somebody can act on. There is no
// way to do without verification.
//
// What the package is not: it resolves and dials nothing, knows no HTTP, and does
// not decide who may go where.
package trust
