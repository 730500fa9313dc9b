// Package parent asks parent proxies: which of several is asked, how it is
// reached, and how it is asked for a tunnel (CONNECT). It knows which of them
// did not answer lately, and names in words what one of them cannot do.
//
// It decides nothing: what a client may reach, and at which address, has been
// judged before anybody is asked.
package parent
