package flow

import "crypto/rand"

// crockford is the alphabet of Crockford's base 32: no I, L, O or U, so that an
// id can be read out over the telephone.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewID makes a decision id: "GH-" and 8 random characters (40 bits).
func NewID() string {
	var raw [8]byte
	rand.Read(raw[:]) // never fails (crypto/rand, since Go 1.24)
	id := make([]byte, 0, 11)
	id = append(id, "GH-"...)
	for _, b := range raw {
		id = append(id, crockford[b&31])
	}
	return string(id)
}
