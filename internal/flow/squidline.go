package flow

import (
	"cmp"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"gatehouse/policy"
)

// Squid writes a Record as a line of Squid's native access log, the ten fields
// of its format "squid", for the readers schools already have:
//
//	%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt
//
// A test has Squid 5.7 itself write what it thinks of the same requests, and
// compares. There is no place in it for rule, reason and decision id; the JSON
// form has them. Nor has Squid a form for DNS questions: they are written in the way it
// writes ICP queries, as UDP_MISS or UDP_DENIED. A long passage gets its line at
// its end only, as in Squid: readers would count it twice.
func Squid(dst []byte, r *Record) []byte {
	if r.Open {
		return dst
	}
	at := r.Time.Add(r.Duration) // Squid's time is that of the line, not of the first byte
	dst = strconv.AppendInt(dst, at.Unix(), 10)
	dst = append(dst, '.')
	dst = appendPadded(dst, int64(at.Nanosecond()/1e6), 3, '0')
	dst = append(dst, ' ')
	dst = appendPadded(dst, r.Duration.Milliseconds(), 6, ' ')
	dst = append(dst, ' ')
	dst = appendToken(dst, addrText(r.Client))
	dst = append(dst, ' ')
	dst = append(dst, squidResult(r)...)
	dst = append(dst, '/')
	dst = appendPadded(dst, int64(r.Status), 3, '0')
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, r.Received+r.Heads, 10)
	dst = append(dst, ' ')
	dst = appendToken(dst, squidMethod(r))
	dst = append(dst, ' ')
	dst = appendURL(dst, squidURL(r))
	dst = append(dst, ' ')
	dst = appendUser(dst, r.User)
	dst = append(dst, ' ')
	dst = append(dst, squidHierarchy(r)...)
	dst = append(dst, ' ')
	dst = appendToken(dst, squidType(r))
	return append(dst, '\n')
}

func squidResult(r *Record) string {
	denied := !r.Verdict.Allowed()
	switch {
	case r.Surface == policy.DNS && denied:
		return "UDP_DENIED"
	case r.Surface == policy.DNS:
		return "UDP_MISS"
	case r.Verdict.Reason == policy.BadRequest, squidNoTunnel(r):
		return "NONE_NONE" // as Squid has it of what it did not come to judge, or to carry
	case denied:
		return "TCP_DENIED"
	case r.Surface == policy.CONNECT, r.Surface == policy.Gateway:
		return "TCP_TUNNEL"
	case r.End == "client-closed":
		return "TCP_MISS_ABORTED"
	}
	return "TCP_MISS"
}

// squidNoTunnel reports whether a tunnel was permitted and did not come about.
func squidNoTunnel(r *Record) bool {
	if r.Surface != policy.CONNECT && r.Surface != policy.Gateway || !r.Verdict.Allowed() {
		return false
	}
	switch r.Verdict.Reason {
	case policy.UpstreamUnresolved, policy.UpstreamUnreachable, policy.UpstreamInvalid:
		return r.Status != http.StatusOK
	}
	return false
}

// squidType is the media type that the client got; Squid has none for a tunnel.
func squidType(r *Record) string {
	if squidNoTunnel(r) {
		return ""
	}
	return cmp.Or(r.Page, r.Type)
}

func squidMethod(r *Record) string {
	switch {
	case r.Surface == policy.DNS:
		return "DNS_QUERY"
	case r.Surface == policy.CONNECT, r.Surface == policy.Gateway:
		return "CONNECT"
	}
	return r.Method // a dash where it could not be read
}

// squidURL is host:port for a tunnel and the URL, without query, for a request.
func squidURL(r *Record) string {
	host := r.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port, path := ":"+strconv.Itoa(int(r.Port)), r.Path
	if r.HadQuery {
		path += "?" // as Squid does: strip_query_terms
	}
	switch {
	case r.Surface == policy.DNS:
		return r.Host
	case host == "" && r.Status == http.StatusRequestHeaderFieldsTooLarge:
		return "error:request-too-large"
	case host == "":
		return "error:invalid-request"
	case r.Surface == policy.CONNECT, r.Surface == policy.Gateway:
		return host + port
	case r.Protocol == policy.TLS && r.Port == 443:
		return "https://" + host + path
	case r.Protocol == policy.TLS:
		return "https://" + host + port + path
	case r.Port == 80:
		return "http://" + host + path
	}
	return "http://" + host + port + path
}

func squidHierarchy(r *Record) string {
	if r.Parent != "" {
		return "FIRSTUP_PARENT/" + string(appendToken(nil, r.Parent))
	}
	if !r.IP.IsValid() {
		return "HIER_NONE/-"
	}
	return "HIER_DIRECT/" + r.IP.String()
}

// addrText is the address, empty where there is none.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
