package flow

import "math/rand/v2"

// crockford is the alphabet of Crockford's base 32: no I, L, O or U, so that an
// id can be read out over the telephone.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewID makes a decision id: "GH-" and 8 random characters (40 bits). An id is a
// name and no secret: it opens nothing, so it comes from the runtime's own
// generator (ChaCha8, seeded by the system) and costs no read of the system's.
func NewID() string {
	id := [...]byte{'G', 'H', '-', 0, 0, 0, 0, 0, 0, 0, 0}
	bits := rand.Uint64()
	for i := 3; i < len(id); i++ {
		id[i] = crockford[bits&31]
		bits >>= 5
	}
	return string(id[:])
}
