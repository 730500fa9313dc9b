// Package metrics is the tally: the Prometheus view of the book. It counts the
// Records that the rooms write and shows the state of rules, data and log; it
// asks the gate nothing and never holds it up.
//
// Label values come from enums and from rule names of the admin's own file (the
// first 1,000, then "other"), never from the wire: no client can make the
// number of series grow. It is the only home of client_golang.
package metrics
