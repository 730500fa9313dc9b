// Package ca keeps the inspection CA: the certificate authority whose
// certificates the gate shows to clients where it looks inside TLS. It makes
// one, keeps it in a folder, loads it, and says which hosts it may vouch for.
//
// An authority is one or more generations, each a certificate and its key in
// two files of the folder. A generation signs from the moment Begins gives until
// a younger one does or it ends itself; so a rotation needs no state besides the
// certificates, and two gates that share a folder change over together.
//
// What the package is not: it mints no leaf certificate (package proxy does),
// and it knows neither rules nor configuration.
package ca
