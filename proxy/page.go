package proxy

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"

	"gatehouse/policy"
)

// page is what a refusal says: what happened, why, and what to do. It is good for as
// long as the room it was written into.
type page struct {
	what, why, do    []byte
	reason, id, rule string
	line             int
}

// pageFor writes the page of a refusal into room, where there is enough of it. Where
// tell is set the client may know which rule decided.
func pageFor(room []byte, r *refusal, dest policy.Dest, id string, tell bool) page {
	p := page{reason: r.verdict.Reason.String(), id: id}
	b := room[:0]
	sentence := func() (s []byte) {
		s, b = b, b[len(b):]
		return s
	}
	switch allowed := r.verdict.Allowed(); {
	case dest.Host.IsZero() && allowed:
		b = append(b, "The gateway permits this request, but could not get an answer."...)
	case dest.Host.IsZero():
		b = append(b, "The gateway refused this request."...)
	case allowed:
		b = append(dest.AppendTo(append(b, "The gateway permits access to "...)), ", but could not get an answer."...)
	default:
		b = append(dest.AppendTo(append(b, "The gateway refused access to "...)), '.')
	}
	p.what = sentence()
	why, do := sentences(r.verdict.Reason)
	if r.why != "" {
		why = r.why
	}
	if tell && r.verdict.Rule != nil && !r.verdict.Allowed() {
		p.rule, p.line = r.verdict.RuleName(), r.verdict.Line()
		b = fmt.Appendf(b, "%s: rule %q, line %d of the rules.", strings.TrimSuffix(why, "."), p.rule, p.line)
	} else {
		b = append(b, why...)
	}
	p.why = sentence()
	if r.fix != "" {
		b = append(append(append(b, "Tell the administrator ("...), r.fix...), ')')
	} else {
		b = append(b, do...)
	}
	b = append(append(append(b, " and quote "...), id...), '.')
	p.do = sentence()
	return p
}

// sentences are why a passage was refused and what its user can do.
func sentences(r policy.Reason) (why, do string) {
	do = "If it should be permitted, ask the administrator to add it to the rules"
	switch r {
	case policy.NoPolicy:
		return "No rules are in force, so nothing is permitted.", "Tell the administrator"
	case policy.ClientNotListed:
		return "This computer is not one that the rules let go there.", do
	case policy.HostNotListed:
		return "No rule names this host.", do
	case policy.PortNotListed:
		return "No rule permits this port of the host.", do
	case policy.MethodNotListed:
		return "No rule permits this method there.", do
	case policy.PathNotListed:
		return "No rule permits this path.", do
	case policy.UploadNotListed:
		return "No rule permits sending this type of content there.", do
	case policy.TypeNotListed:
		return "The answer is of a type that no rule permits there.", do
	case policy.TypeMismatch:
		return "The answer is not what its type says it is.", "Tell the administrator"
	case policy.UpgradeNotListed:
		return "No rule permits switching to this protocol there.", do
	case policy.DeniedByRule:
		return "A rule forbids it.", "If that is a mistake, ask the administrator"
	case policy.Expired:
		return "The rule that permitted it is past its last day.", "Ask the administrator to renew the rule"
	case policy.AliasNotAllowed:
		return "The name leads through another name that no rule permits.", do
	case policy.AddressNotAllowed:
		return "The name leads to no address that the rules permit.", "Tell the administrator"
	}
	return technical(r)
}

// technical are the sentences about how something was asked, and about the world.
func technical(r policy.Reason) (why, do string) {
	switch r {
	case policy.NotHTTP:
		return "The rules expect another protocol than plain HTTP traffic of this kind on this port.", "Check the program's address and proxy settings, or ask the administrator"
	case policy.NotTLS, policy.SNIMissing, policy.SNIMismatch:
		return "The connection does not open with TLS for the host that was asked for.", "Ask the administrator"
	case policy.BadRequest: // what is wrong with the head has its own words
		return "Rules of this host speak of paths, and this path can be read in two ways.", "Check the address, or ask the administrator"
	case policy.HostMismatch:
		return "The request is not well-formed.", "Check the program that sent it, or ask the administrator"
	case policy.LoginRequired:
		return "The gateway wants to know who is asking.", "Log in, or ask the administrator"
	case policy.Limit:
		return "Too many connections are open, or too many new names were asked for.", "Try again shortly; if it persists, ask the administrator"
	case policy.Loop:
		return "The request has come through this gateway before.", "Tell the administrator that proxies lead in a circle"
	case policy.UpstreamUnresolved:
		return "The host's name could not be resolved.", "Check the name and try again; if it persists, ask the administrator"
	case policy.UpstreamUnreachable:
		return "The host could not be reached.", "Try again later; if it persists, ask the administrator"
	case policy.UpstreamUntrusted:
		return "The host could not prove that it is who it says it is.", "Tell the administrator"
	case policy.UpstreamInvalid:
		return "The host gave no valid answer.", "Try again later; if it persists, ask the administrator"
	}
	return "The rules do not permit it.", "Ask the administrator"
}

// append appends the page in one of the forms.
func (p *page) append(dst []byte, form string) []byte {
	switch form {
	case formHTML:
		return fmt.Appendf(dst, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title></head>\n<body><h1>%[1]s</h1>\n<p>%s</p>\n<p>%s</p>\n<p>%s · %s</p></body></html>\n",
			html.EscapeString(string(p.what)), html.EscapeString(string(p.why)), html.EscapeString(string(p.do)), html.EscapeString(p.reason), html.EscapeString(p.id))
	case formJSON:
		text, _ := json.Marshal(struct { // strings and numbers: cannot fail
			What   string `json:"what"`
			Why    string `json:"why"`
			Do     string `json:"do"`
			Reason string `json:"reason"`
			ID     string `json:"id"`
			Rule   string `json:"rule,omitempty"`
			Line   int    `json:"line,omitempty"`
		}{string(p.what), string(p.why), string(p.do), p.reason, p.id, p.rule, p.line})
		return append(append(dst, text...), '\n')
	}
	for _, sentence := range [...][]byte{p.what, p.why, p.do} {
		dst = append(append(dst, sentence...), ' ')
	}
	dst[len(dst)-1] = '\n'
	return dst
}
