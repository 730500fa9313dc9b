// Package policy is the porter's mind: it decides who may go where, and says
// why. It is pure: no I/O, no clock, no logging. What is not known yet is not
// judged; what is known is judged the same way for enforcement, for explain and
// for the tests written into a rules file, because all of them run through one
// function over one set of tables.
//
// Six questions can be asked of a *Policy, each with its own argument type, so
// that nobody can ask about a media type at CONNECT time:
//
//	Connect   a tunnel: CONNECT head, later its first bytes
//	Request   one HTTP request, plain or inside TLS that is looked into
//	Published one request that comes in to a server of the school's (see [[publish]])
//	Query     one DNS question
//	Answer    one address (and the aliases that led to it), for a Query or a Permit
//	Response  a response head and the family its first bytes show
//
// A question that may go on returns a Permit: proof that this policy let this
// passage go to one Dest. Answer and Response take the Permit and judge the
// whole passage again with what has become known, so that one rule must permit
// all of it.
//
// Deny is the zero value of everything: of Effect, of Verdict, of Permit, of
// Clients, of Addresses; and a nil *Policy refuses every question.
//
// What the package is not: it does not read rules files (package rules does),
// does not resolve names (package dnsallow does) and does not speak HTTP.
package policy
