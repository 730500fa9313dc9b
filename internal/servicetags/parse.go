package servicetags

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// MaxBytes is how much of a file is read at most. The weekly file has had more
// than 4 MiB since the end of 2025.
const MaxBytes = 64 << 20

var (
	errTooLarge = fmt.Errorf("the file is larger than %d MiB", MaxBytes>>20)
	errNoTags   = errors.New("the file holds no tag; fetch it again from Microsoft (download id 56519)")
	errFormat   = errors.New("neither a ServiceTags JSON file (it would begin with \"{\") nor the legacy PublicIPs XML (it would begin with \"<\")")
)

// Parse reads a list of service tags, JSON or legacy XML, with or without a
// byte order mark. name is the file's name: it dates the list and stands in the
// errors, which also say at which byte the file is wrong. A file that is wrong
// anywhere is not taken at all.
func Parse(r io.Reader, name string) (*File, error) {
	return parse(&bounded{r: r, left: MaxBytes}, name)
}

func parse(r *bounded, name string) (*File, error) {
	in := bufio.NewReader(r)
	skipped, err := skipToFirst(in)
	if err != nil {
		return nil, at(name, skipped, err)
	}
	p := &parser{file: &File{Name: name, Date: dateInName(name), tags: map[string]tag{}}}
	var offset int64
	switch first, _ := in.Peek(1); first[0] {
	case '{':
		offset, err = p.readJSON(in)
	case '<':
		offset, err = p.readXML(in)
	default:
		err = errFormat
	}
	if err == nil && len(p.file.tags) == 0 {
		err = errNoTags
	}
	if err != nil {
		return nil, at(name, skipped+offset, err)
	}
	return p.file, nil
}

func at(name string, offset int64, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("the file ends in the middle; it was probably not copied completely")
	}
	return fmt.Errorf("%s: at byte %d: %w", name, offset, err)
}

// skipToFirst reads over a byte order mark and white space, up to the byte that
// shows the format.
func skipToFirst(in *bufio.Reader) (skipped int64, err error) {
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		in.Discard(3)
		skipped = 3
	}
	for {
		b, err := in.Peek(1)
		if err == io.EOF {
			return skipped, errors.New("the file is empty")
		}
		if err != nil {
			return skipped, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(b[0])) {
			return skipped, nil
		}
		in.Discard(1)
		skipped++
	}
}

// bounded fails, rather than ends, where a file goes on past its limit: a list
// that was cut off must not look complete.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// parser gathers the tags of one file.
type parser struct{ file *File }

func (p *parser) add(name string, ranges []netip.Prefix) error {
	key := strings.ToLower(name)
	switch _, twice := p.file.tags[key]; {
	case name == "":
		return errors.New("a tag without a name")
	case twice:
		return fmt.Errorf("tag %q is there twice", name)
	}
	p.file.tags[key] = tag{name: name, prefixes: ranges}
	return nil
}

// The shortest prefix a tag may have. No published one comes near; a shorter
// one would make half the internet part of a region.
const (
	shortestIPv4 = 8
	shortestIPv6 = 16
)

func parsePrefix(s string) (netip.Prefix, error) {
	x, err := netip.ParsePrefix(strings.TrimSpace(s))
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%.60q is not an address range such as 13.69.227.0/26", s)
	case x != x.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its length", s)
	case x.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4 range dressed as IPv6", s)
	case x.Addr().Is4() && x.Bits() < shortestIPv4, x.Addr().Is6() && x.Bits() < shortestIPv6:
		return netip.Prefix{}, fmt.Errorf("%q is far larger than any range Microsoft publishes", s)
	}
	return x, nil
}
