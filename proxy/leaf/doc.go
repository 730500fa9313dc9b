// Package leaf makes the certificates that the gate shows inside tunnels it
// looks into: one for each host, signed by the inspection CA, good for a week,
// kept until half of that is over.
//
// What the package is not: it does not know which hosts may be looked into, and
// neither makes nor reads the CA.
package leaf
