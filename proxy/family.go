package proxy

import (
	"bytes"
	"unicode/utf8"

	"gatehouse/policy"
)

// headBytes is how much of a body is looked at to tell its family.
const headBytes = 512

// magic is how a kind of file begins. The numbers are those of the formats'
// own specifications (PE/COFF, ELF gABI, Mach-O loader.h, MS-CFB, APPNOTE.TXT,
// RFC 1952, MS-CAB, 7zFormat.txt, RAR 5.0, MS-SHLLINK, RFC 8878, ISO 32000).
var magic = [...]struct {
	begins string
	family policy.Family
}{
	{"MZ", policy.FamilyProgram},
	{"\x7fELF", policy.FamilyProgram},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", policy.FamilyProgram}, // OLE: MSI
	{"\xfe\xed\xfa\xce", policy.FamilyProgram},
	{"\xfe\xed\xfa\xcf", policy.FamilyProgram},
	{"\xce\xfa\xed\xfe", policy.FamilyProgram},
	{"\xcf\xfa\xed\xfe", policy.FamilyProgram},
	{"\xca\xfe\xba\xbe", policy.FamilyProgram},                 // universal Mach-O, and Java classes
	{"\xca\xfe\xba\xbf", policy.FamilyProgram},                 // universal Mach-O of 64 bits
	{"\x4c\x00\x00\x00\x01\x14\x02\x00", policy.FamilyProgram}, // a Windows shortcut: it starts one
	{"\x00asm", policy.FamilyProgram},
	{"dex\n", policy.FamilyProgram},
	{"#!", policy.FamilyProgram},
	{"PK\x03\x04", policy.FamilyArchive},
	{"PK\x05\x06", policy.FamilyArchive},
	{"PK\x07\x08", policy.FamilyArchive},
	{"MSCF", policy.FamilyArchive},
	{"\x1f\x8b", policy.FamilyArchive},
	{"7z\xbc\xaf\x27\x1c", policy.FamilyArchive},
	{"Rar!\x1a\x07", policy.FamilyArchive},
	{"\xfd7zXZ\x00", policy.FamilyArchive},
	{"\x28\xb5\x2f\xfd", policy.FamilyArchive}, // zstd
	{"MSWIM\x00\x00\x00", policy.FamilyArchive},
	{"%PDF-", policy.FamilyUnknown}, // begins like text, and is none
}

// classify tells the family of a body by its first bytes. whole says that no
// more than these will be looked at, because the body ends or there are
// headBytes of them. settled reports that more bytes would not change the
// answer; text that is not settled can still turn out as unknown, but no longer
// as a program or an archive.
func classify(first []byte, whole bool) (family policy.Family, settled bool) {
	for _, m := range magic {
		switch {
		case bytes.HasPrefix(first, []byte(m.begins)):
			return m.family, true
		case !whole && len(first) < len(m.begins) && m.begins[:len(first)] == string(first):
			return policy.FamilyUnknown, false
		}
	}
	switch {
	case !printable(first):
		return policy.FamilyUnknown, true
	case looksLikeMarkup(first):
		return policy.FamilyMarkup, whole
	}
	return policy.FamilyText, whole
}

// printable reports whether the bytes are text in UTF-8, in an eight-bit
// character set, or in UTF-16 with a byte order mark.
func printable(b []byte) bool {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return true
	}
	for _, c := range bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b {
			return false
		}
	}
	return len(b) > 0 && (utf8.Valid(lessLastRune(b)) || mostlyASCII(b))
}

// lessLastRune drops what may be the beginning of a character cut in two.
func lessLastRune(b []byte) []byte {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		if utf8.RuneStart(b[len(b)-back]) {
			if !utf8.FullRune(b[len(b)-back:]) {
				return b[:len(b)-back]
			}
			break
		}
	}
	return b
}

// mostlyASCII tells text in a Windows code page from compressed data, whose
// bytes are high half of the time.
func mostlyASCII(b []byte) bool {
	high := 0
	for _, c := range b {
		if c >= 0x80 {
			high++
		}
	}
	return high*4 < len(b)
}

// looksLikeMarkup reports whether text begins with a tag, a declaration or a
// comment.
func looksLikeMarkup(b []byte) bool {
	text := bytes.TrimLeft(bytes.ReplaceAll(bytes.TrimLeft(b, "\xef\xbb\xbf\xff\xfe"), []byte{0}, nil), " \t\r\n\f")
	if len(text) < 2 || text[0] != '<' {
		return false
	}
	c := text[1] | 0x20
	return text[1] == '!' || text[1] == '?' || 'a' <= c && c <= 'z'
}
