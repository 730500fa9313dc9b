package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Host is a normalized DNS name or an IP address. Only ParseHost (and HostOf)
// make one; the zero value is no host and matches nothing. Hosts are comparable.
type Host struct {
	name string // lower case, ASCII, no trailing dot
	addr netip.Addr
}

// Dest is where a passage leads.
type Dest struct {
	Host Host
	Port uint16
}

// String is "host:port", with brackets around an IPv6 address.
func (d Dest) String() string { return string(d.AppendTo(nil)) }

// AppendTo appends what String returns.
func (d Dest) AppendTo(dst []byte) []byte {
	switch {
	case d.Host.addr.Is6():
		dst = append(d.Host.addr.AppendTo(append(dst, '[')), ']')
	case d.Host.IsIP():
		dst = d.Host.addr.AppendTo(dst)
	default:
		dst = append(dst, d.Host.name...)
	}
	return strconv.AppendUint(append(dst, ':'), uint64(d.Port), 10)
}

// HostOf is the host that an address literal names. Zones are dropped, v4-mapped
// addresses are kept as they are (and match no rule).
func HostOf(a netip.Addr) Host { return Host{addr: a.WithZone("")} }

// IsIP reports whether the host is an address literal.
func (h Host) IsIP() bool { return h.addr.IsValid() }

// Addr is the address of a literal, the zero Addr for a name.
func (h Host) Addr() netip.Addr { return h.addr }

// Name is the DNS name without trailing dot, empty for a literal.
func (h Host) Name() string { return h.name }

// IsZero reports whether h is no host at all.
func (h Host) IsZero() bool { return h == Host{} }

// String is the name or the address as a rules file writes it.
func (h Host) String() string {
	if h.IsIP() {
		return h.addr.String()
	}
	return h.name
}

// Errors of ParseHost. They are worded for whoever wrote the host.
var (
	errHostEmpty  = errors.New("is empty")
	errHostLong   = errors.New("is longer than 253 characters")
	errLabelEmpty = errors.New("has an empty label (two dots in a row, or a dot at the start)")
	errLabelLong  = errors.New("has a label longer than 63 characters")
	errHostPort   = errors.New("has a port; a host is written without one")
	errHostZone   = errors.New("has an IPv6 zone")
	errHostMapped = errors.New("is an IPv4 address dressed as IPv6; write the IPv4 address")
	errHostIDNA   = errors.New("is not a valid international name")
	errHostNumber = errors.New("ends like a number but is not an IPv4 address of four decimal parts")
)

// longestWritten bounds what is normalized at all: no name of 253 octets is
// written with more than four octets for each of them, and the work of UTS 46
// and Punycode grows with the square of a label.
const longestWritten = 4 * 253

// ParseHost normalizes a host: lower case, no trailing dot, international names
// in their ASCII form (UTS 46, as browsers do). An IP literal is accepted in
// its one canonical notation, IPv6 also in brackets; the other notations that a
// resolver or dialer would take for an address (127.1, 0x7f.1, 2130706433,
// v4-mapped, zones) are refused, not guessed.
func ParseHost(s string) (Host, error) {
	h, err := parseHost(s)
	if err != nil {
		return Host{}, fmt.Errorf("host %q %w", clip(s), err)
	}
	return h, nil
}

func parseHost(s string) (Host, error) {
	switch {
	case plainName(s):
		return Host{name: s}, nil
	case s == "":
		return Host{}, errHostEmpty
	case len(s) > longestWritten:
		return Host{}, errHostLong
	}
	if strings.ContainsAny(s, ":[]") {
		return parseIPv6(s)
	}
	name, err := asciiName(s)
	if err != nil {
		return Host{}, err
	}
	if err := checkName(name); err != nil {
		return Host{}, err
	}
	if endsInNumber(name) {
		return parseIPv4(name, s)
	}
	return Host{name: name}, nil
}

// plainName reports whether a name is what parseHost makes of it, as nearly every
// name is: lower case, no international label, nothing that looks like a number.
// It is looked at once; where it is false nothing is said yet.
func plainName(s string) bool {
	if len(s) > 253 {
		return false
	}
	label := 0 // where it begins
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_':
		case c == '-' && label < i && i+1 < len(s) && s[i+1] != '.':
			if i-label == 3 && s[i-1] == '-' { // xn-- and whatever else may be reserved
				return false
			}
		case c == '.' && label < i && i-label <= 63:
			label = i + 1
		default:
			return false
		}
	}
	last := len(s) - label
	return 0 < last && last <= 63 && ('a' <= s[label] && s[label] <= 'z' || s[label] == '_')
}

// parseIPv4 takes the dotted quad and nothing else. An address that only
// normalization revealed (full-width digits) is refused as well.
func parseIPv4(name, written string) (Host, error) {
	a, err := netip.ParseAddr(name)
	if err != nil || a.String() != strings.TrimSuffix(written, ".") {
		return Host{}, errHostNumber
	}
	return Host{addr: a}, nil
}

func parseIPv6(s string) (Host, error) {
	inner, bracketed := s, false
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		inner, bracketed = s[1:len(s)-1], true
	}
	if strings.Contains(inner, "%") {
		return Host{}, errHostZone
	}
	a, err := netip.ParseAddr(inner)
	switch {
	case err != nil && !bracketed && strings.Count(s, ":") == 1:
		return Host{}, errHostPort
	case err != nil || !a.Is6():
		return Host{}, errors.New("is not an IPv6 address")
	case a.Is4In6():
		return Host{}, errHostMapped
	}
	return Host{addr: a}, nil
}

// asciiName lowers the case, drops one trailing dot and turns an international
// name into its ASCII form.
func asciiName(s string) (string, error) {
	ascii := true
	punycode := false
	for i := range len(s) {
		ascii = ascii && s[i] < 0x80
	}
	lower := s
	if ascii {
		lower = strings.ToLower(s)
		punycode = strings.HasPrefix(lower, "xn--") || strings.Contains(lower, ".xn--")
	}
	if !ascii || punycode {
		var err error
		if lower, err = international(lower); err != nil {
			return "", err
		}
	}
	return strings.TrimSuffix(lower, "."), nil
}

// international gives the ASCII form of a name. A form that does not stand for
// itself (invalid UTF-8, characters that map to something else once more) could
// be two names to two programs, and is refused.
func international(s string) (string, error) {
	for label := range strings.FieldsFuncSeq(s, isDot) {
		if utf8.RuneCountInString(label) > 63 {
			return "", errLabelLong
		}
	}
	form, err := idna.Lookup.ToASCII(s)
	if err != nil || !utf8.ValidString(s) {
		return "", errHostIDNA
	}
	if again, err := idna.Lookup.ToASCII(form); err != nil || again != form {
		return "", errHostIDNA
	}
	return form, nil
}

// isDot reports what UTS 46 takes for the dot between labels.
func isDot(r rune) bool { return r == '.' || r == '。' || r == '．' || r == '｡' }

// checkName holds an ASCII name to letters, digits, hyphen and underscore
// (service names and some real hosts have it), labels of 1 to 63 octets and 253
// in all (RFC 1035, section 2.3.4).
func checkName(name string) error {
	if name == "" {
		return errHostEmpty
	}
	if len(name) > 253 {
		return errHostLong
	}
	for rest, more := name, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		switch {
		case label == "":
			return errLabelEmpty
		case len(label) > 63:
			return errLabelLong
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("has a label that begins or ends with a hyphen")
		}
		for i := range len(label) {
			if !nameByte(label[i]) {
				return fmt.Errorf("has %q, which no host name contains", rune(label[i]))
			}
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// endsInNumber reports whether a name's last label is a number, decimal or
// hexadecimal: inet_aton and browsers would take such a name for an IPv4
// address (URL Standard, "ends in a number checker").
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// clip bounds text from outside that goes into an error.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
