// Package keeper carries tunnels: two connections, bytes both ways, nothing read
// into them. It is made for tunnels that are silent most of the time: on Linux an
// idle one holds its two descriptors and a few hundred bytes, but no goroutine,
// no buffer and no pipe.
//
// How: the descriptors of all tunnels stand in one epoll set, and one goroutine
// waits for it. What comes in small pieces it carries itself, through one buffer
// for all (loop_linux.go). A direction that has more, or whose receiver takes no
// more, gets a goroutine of its own, which splices until the direction is silent
// again and then gives it back (bulk_linux.go). Connections that are not TCP, and
// other systems, are carried by two plain copies (copy.go). Open chooses between
// the two ways, and nobody else does; what follows is true of both.
//
// The contract:
//
//   - From Join on the connections are the tunnel's: nobody else reads, writes,
//     closes them or sets deadlines. The tunnel closes both. Whoever wants them
//     closed closes the tunnel.
//   - A half-close is passed on as one; when both directions have ended the
//     tunnel is over. A reset, or any other failure of a connection, is passed on
//     as a reset to both sides: an orderly end would tell them that all has come.
//   - A tunnel in which neither direction has moved a byte for the idle limit is
//     reset. The limit is looked after now and then, so that it may be exceeded
//     by an eighth, at most by 15 seconds. Bytes count as moved when the receiving
//     socket has taken them; where bulk meets a slow receiver that is noticed for
//     each pipeful (1 MiB at most), not for each byte.
//   - Done is called exactly once, after both connections are closed and all is
//     counted, on whatever goroutine came to the end: it must not block and
//     must not panic. Nobody waits for a tunnel; what its opener still has to do
//     (the book, the registry, limits) is done there.
//
// Whoever has a judged address may have the keeper dial it (conn_linux.go): such an
// origin is a bare descriptor, of which Go's poller knows nothing, until there is bulk.
//
// What the package is not: it judges nothing, resolves nothing, and looks into no
// byte.
package keeper
