package policy

import (
	"errors"
	"strings"
)

// MediaType is a type and subtype in lower case, without parameters. The zero
// value is "none stated".
type MediaType struct{ text string }

// ParseMediaType reads a Content-Type value or an entry of a rules file.
// Parameters and case are ignored (RFC 9110, section 8.3.1).
func ParseMediaType(s string) (MediaType, error) {
	essence, _, _ := strings.Cut(s, ";")
	essence = lowerASCII(strings.Trim(essence, " \t"))
	kind, sub, ok := strings.Cut(essence, "/")
	if !ok || !token(kind) || !token(sub) {
		return MediaType{}, errors.New("is not of the form type/subtype")
	}
	return MediaType{text: essence}, nil
}

// DeclaredType is the media type that a message's Content-Type fields declare:
// the zero value where there is none, more than one, or one that says nothing.
// Two of them joined by a comma are two (RFC 9110, section 5.3): browsers take the
// last one.
func DeclaredType(fields []string) MediaType {
	if len(fields) != 1 || listed(fields[0]) {
		return MediaType{}
	}
	m, err := ParseMediaType(fields[0])
	if err != nil {
		return MediaType{}
	}
	return m
}

// listed reports a comma outside of quotes.
func listed(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == ',':
			return true
		}
	}
	return false
}

// String is the type as "type/subtype", empty where none is stated.
func (m MediaType) String() string { return m.text }

// IsZero reports whether no type is stated.
func (m MediaType) IsZero() bool { return m.text == "" }

// token reports whether s is a token of RFC 9110, section 5.6.2.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// Contradicts reports whether first bytes of family f give the lie to the
// declared type. What cannot be recognised, and what a type leaves open
// (application/octet-stream), is no contradiction. Nor is text: a format is told by
// its signature, and text is what has none. What a .gcu holds, its vendor does not
// publish, and a playlist is text that calls itself audio.
func (m MediaType) Contradicts(f Family) bool {
	switch m.class() {
	case classText:
		return f == FamilyProgram || f == FamilyArchive
	case classArchive:
		return f == FamilyProgram || f == FamilyMarkup
	case classProgram:
		return f == FamilyMarkup
	case classMedia:
		return f == FamilyProgram || f == FamilyArchive || f == FamilyMarkup
	}
	return false
}

type mediaClass uint8

const (
	classOpen mediaClass = iota
	classText
	classArchive
	classProgram
	classMedia
)

func (m MediaType) class() mediaClass {
	switch m.text {
	case "application/json", "application/xml", "application/javascript", "application/x-javascript",
		"application/x-www-form-urlencoded", "application/x-setupscript", "application/inf":
		return classText
	case "application/zip", "application/x-zip", "application/x-zip-compressed", "application/gzip",
		"application/x-gzip", "application/vnd.ms-cab-compressed", "application/x-7z-compressed",
		"application/x-rar-compressed", "application/vnd.rar":
		return classArchive
	case "application/x-msdownload", "application/x-msdos-program", "application/x-msi",
		"application/vnd.microsoft.portable-executable", "application/x-executable":
		return classProgram
	}
	kind, sub, _ := strings.Cut(m.text, "/")
	switch {
	case kind == "text", strings.HasSuffix(sub, "+json"), strings.HasSuffix(sub, "+xml"):
		return classText
	case kind == "image", kind == "audio", kind == "video", kind == "font":
		return classMedia
	}
	return classOpen
}
