package proxy

// roster are connections in no order: each knows its place, so that one comes and goes
// without a search. Its lock is whoever's it is.
type roster []*clientConn

func (r *roster) add(c *clientConn) {
	c.seat = len(*r)
	*r = append(*r, c)
}

// remove takes out a connection that is in it.
func (r *roster) remove(c *clientConn) {
	list, last := *r, len(*r)-1
	list[c.seat] = list[last]
	list[c.seat].seat = c.seat
	list[last] = nil
	*r = list[:last]
}
