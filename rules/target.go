package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/policy"
)

var errForm = errors.New("is neither METHOD URL [<- upload type] [-> response type], nor CONNECT host:port, nor DNS name [type] [= address], nor PUBLISH name [METHOD] /path")

// ParseTarget reads a passage as tests and explain write it:
//
//	METHOD URL [<- upload type] [-> response type]
//	CONNECT host:port
//	DNS name [type] [= address]
//	PUBLISH name [METHOD] /path [<- upload type] [-> response type]
//
// A URL alone is a GET, and so is a path. The case comes without client and time: those are the
// caller's.
func ParseTarget(s string) (policy.Case, error) {
	words := strings.Fields(s)
	var c policy.Case
	var err error
	switch {
	case len(words) == 0:
		err = errForm
	case words[0] == "CONNECT":
		c, err = connectCase(words[1:])
	case words[0] == "DNS":
		c, err = dnsCase(words[1:])
	case words[0] == "PUBLISH":
		c, err = publishCase(words[1:])
	case strings.Contains(words[0], "://"):
		c, err = requestCase("GET", words[0], words[1:])
	case len(words) > 1 && strings.Contains(words[1], "://"):
		c, err = requestCase(words[0], words[1], words[2:])
	default:
		err = errForm
	}
	if err != nil {
		return policy.Case{}, fmt.Errorf("%q: %w", s, err)
	}
	return c, nil
}

func connectCase(words []string) (policy.Case, error) {
	if len(words) != 1 {
		return policy.Case{}, errForm
	}
	i := strings.LastIndexByte(words[0], ':')
	if strings.Contains(words[0], "/") {
		return policy.Case{}, errors.New("is a URL; a tunnel leads to a host and a port, like CONNECT www.example.org:443")
	}
	if i < 0 {
		return policy.Case{}, errors.New("has no port; write CONNECT host:443")
	}
	port, err := strconv.ParseUint(words[0][i+1:], 10, 16)
	if err != nil || port == 0 {
		return policy.Case{}, fmt.Errorf("%q is no port", words[0][i+1:])
	}
	host, err := policy.ParseHost(words[0][:i])
	return policy.Case{Kind: policy.CaseConnect, Dest: policy.Dest{Host: host, Port: uint16(port)}}, err
}

func requestCase(method, target string, words []string) (policy.Case, error) {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return policy.Case{}, fmt.Errorf("%q is no URL", target)
	case u.Scheme != "http" && u.Scheme != "https":
		return policy.Case{}, fmt.Errorf("%q is neither http nor https", u.Scheme)
	case strings.ToUpper(method) != method:
		return policy.Case{}, fmt.Errorf("methods are written in capitals: %s", strings.ToUpper(method))
	}
	host, err := policy.ParseHost(u.Hostname())
	if err != nil {
		return policy.Case{}, err
	}
	c := policy.Case{
		Kind: policy.CaseRequest, Dest: policy.Dest{Host: host, Port: 80}, Secure: u.Scheme == "https",
		Method: method, Path: policy.NewPath(pathOf(target)),
	}
	if c.Secure {
		c.Dest.Port = 443
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return policy.Case{}, fmt.Errorf("%q is no port", text)
		}
		c.Dest.Port = uint16(port)
	}
	err = messageTypes(&c, words)
	return c, err
}

// publishCase reads what comes to a [[publish]]. The server behind it is not named:
// that is the publish's to know.
func publishCase(words []string) (policy.Case, error) {
	c := policy.Case{Kind: policy.CasePublish, Method: "GET"}
	if len(words) < 2 {
		return c, errForm
	}
	c.Publish, words = words[0], words[1:]
	if !strings.HasPrefix(words[0], "/") && len(words) > 1 {
		c.Method, words = words[0], words[1:]
	}
	switch {
	case strings.Contains(words[0], "://"):
		return c, errors.New("has a URL; what comes to a publish is asked by its path, like PUBLISH emerge GET /api")
	case !strings.HasPrefix(words[0], "/"):
		return c, errForm
	case strings.ToUpper(c.Method) != c.Method:
		return c, fmt.Errorf("methods are written in capitals: %s", strings.ToUpper(c.Method))
	}
	c.Path = policy.NewPath(words[0])
	err := messageTypes(&c, words[1:])
	return c, err
}

// pathOf is the path of a URL as it was written: net/url would tidy it.
func pathOf(target string) string {
	_, rest, _ := strings.Cut(target, "://")
	i := strings.IndexAny(rest, "/?#")
	if i < 0 || rest[i] != '/' {
		return "/"
	}
	return rest[i:]
}

// messageTypes reads "<- upload type" and "-> response type".
func messageTypes(c *policy.Case, words []string) error {
	for len(words) > 0 {
		if len(words) < 2 || words[0] != "<-" && words[0] != "->" {
			return errForm
		}
		m, err := policy.ParseMediaType(words[1])
		if err != nil {
			return fmt.Errorf("%q %w", words[1], err)
		}
		if words[0] == "<-" {
			c.UploadStated, c.Upload = true, m
		} else {
			c.TypeStated, c.Type = true, m
		}
		words = words[2:]
	}
	return nil
}

// queryTypes are the names of the DNS types a test may ask for.
var queryTypes = map[string]uint16{
	"A": policy.TypeA, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16,
	"AAAA": policy.TypeAAAA, "SRV": 33, "NAPTR": 35, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257,
}

func dnsCase(words []string) (policy.Case, error) {
	if len(words) == 0 {
		return policy.Case{}, errForm
	}
	host, err := policy.ParseHost(words[0])
	if err != nil {
		return policy.Case{}, err
	}
	c := policy.Case{Kind: policy.CaseDNS, Dest: policy.Dest{Host: host}}
	words = words[1:]
	if len(words) > 0 && words[0] != "=" {
		if c.QueryType, err = queryType(words[0]); err != nil {
			return c, err
		}
		words = words[1:]
	}
	switch {
	case len(words) == 0:
		return c, nil
	case len(words) != 2 || words[0] != "=":
		return c, errForm
	}
	if c.Addr, err = netip.ParseAddr(words[1]); err != nil {
		return c, fmt.Errorf("%q is no address", words[1])
	}
	return c, nil
}

func queryType(s string) (uint16, error) {
	name := strings.ToUpper(s)
	if t, ok := queryTypes[name]; ok {
		return t, nil
	}
	if n, err := strconv.ParseUint(strings.TrimPrefix(name, "TYPE"), 10, 16); err == nil && n > 0 {
		return uint16(n), nil
	}
	return 0, fmt.Errorf("%q is no DNS type", s)
}
