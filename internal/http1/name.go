package http1

// Name is a field name that the gate has a use for; every other name is Other.
type Name uint8

// The known names.
const (
	Other Name = iota
	Authorization
	CacheControl
	Connection
	ContentEncoding
	ContentLength
	ContentRange
	ContentType
	Cookie
	Expect
	Host
	KeepAlive
	MaxForwards
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	ProxyOther // any other name that begins with Proxy-
	SetCookie
	TE
	Trailer
	TransferEncoding
	Upgrade
	Via

	numNames
)

// nameTable says how a field is treated.
//
// hop: it is for one hop alone and never passed on (RFC 9110, section 7.6.1).
// kept: Connection cannot nominate it away, since it says where the message goes,
// where it ends or what it is; "a sender MUST NOT send a connection option
// corresponding to a field that is intended for all recipients of the content".
// early: it must not come after the body (RFC 9110, section 6.5.1): framing,
// routing, authentication, how to handle the request and what the content is.
var nameTable = [numNames]struct {
	text             string
	hop, kept, early bool
}{
	Authorization:      {text: "authorization", early: true},
	CacheControl:       {text: "cache-control", kept: true, early: true},
	Connection:         {text: "connection", hop: true, early: true},
	ContentEncoding:    {text: "content-encoding", kept: true, early: true},
	ContentLength:      {text: "content-length", kept: true, early: true},
	ContentRange:       {text: "content-range", kept: true, early: true},
	ContentType:        {text: "content-type", kept: true, early: true},
	Cookie:             {text: "cookie", early: true},
	Expect:             {text: "expect", kept: true, early: true},
	Host:               {text: "host", kept: true, early: true},
	KeepAlive:          {text: "keep-alive", hop: true, early: true},
	MaxForwards:        {text: "max-forwards", kept: true, early: true},
	ProxyAuthenticate:  {text: "proxy-authenticate", hop: true, early: true},
	ProxyAuthorization: {text: "proxy-authorization", hop: true, early: true},
	ProxyConnection:    {text: "proxy-connection", hop: true, early: true},
	ProxyOther:         {hop: true, early: true},
	SetCookie:          {text: "set-cookie", early: true},
	TE:                 {text: "te", hop: true, early: true},
	Trailer:            {text: "trailer", kept: true, early: true},
	TransferEncoding:   {text: "transfer-encoding", kept: true, early: true},
	Upgrade:            {text: "upgrade", hop: true, early: true},
	Via:                {text: "via", kept: true, early: true},
}

const (
	proxyPrefix = "proxy-"
	longestName = len("proxy-authorization")
)

var namesByLength = func() (index [longestName + 1][]Name) {
	for n := range numNames {
		if text := nameTable[n].text; text != "" {
			index[len(text)] = append(index[len(text)], n)
		}
	}
	return index
}()

// nameOf recognizes a field name in any case.
func nameOf(b []byte) Name {
	if len(b) <= longestName {
		for _, n := range namesByLength[len(b)] {
			if equalFold(b, nameTable[n].text) {
				return n
			}
		}
	}
	if len(b) > len(proxyPrefix) && equalFold(b[:len(proxyPrefix)], proxyPrefix) {
		return ProxyOther
	}
	return Other
}
