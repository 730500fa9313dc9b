package http1

// Fields are the field lines of a head, in the order received. What it hands out
// are slices of the buffer that was parsed.
type Fields struct {
	raw   []byte
	lines []line
	first [numNames]uint16 // index of a name's first line, plus one
	count [numNames]uint16
}

// line is one field line, as offsets: the buffer may move while a head arrives.
type line struct {
	start, colon    uint32 // the name
	value, valueEnd uint32
	name            Name
	hop             bool // for this hop alone: by its name, or nominated by Connection
}

func (f *Fields) reset() {
	*f = Fields{lines: f.lines[:0]}
}

// Len is how many field lines there are.
func (f *Fields) Len() int { return len(f.lines) }

// Line is the i-th line's name, as it was written, and its value without white
// space around it.
func (f *Fields) Line(i int) (name, value []byte) {
	l := &f.lines[i]
	return f.raw[l.start:l.colon], f.raw[l.value:l.valueEnd]
}

// Known is the i-th line's name if it is one the gate has a use for, else Other.
func (f *Fields) Known(i int) Name { return f.lines[i].name }

// Count is how many lines a known name has.
func (f *Fields) Count(n Name) int { return int(f.count[n]) }

// Has reports whether a known name is there.
func (f *Fields) Has(n Name) bool { return f.count[n] > 0 }

// Value is the value of a known name's first line, nil where there is none. Where
// a second line would change the meaning ask Count.
func (f *Fields) Value(n Name) []byte {
	if f.count[n] == 0 {
		return nil
	}
	_, value := f.Line(int(f.first[n]) - 1)
	return value
}

// Lookup is the value of the first line of any name, nil where there is none.
// The name may be in any case.
func (f *Fields) Lookup(name string) []byte {
	for i := range f.lines {
		if n, value := f.Line(i); equalFoldBytes(n, name) {
			return value
		}
	}
	return nil
}

// field reads one field line (RFC 9112, section 5) that begins at offset base of
// the head. Where the line is not whole yet it only looks for what can never
// become valid.
func (f *Fields) field(b []byte, base int, whole bool, most int) error {
	switch {
	case len(b) == 0:
		return nil
	case b[0] == ' ' || b[0] == '\t':
		if len(f.lines) == 0 {
			return ErrLeadingSpace
		}
		return ErrObsFold
	case len(f.lines) >= most:
		return ErrFieldCount
	}
	colon := span(b, classToken)
	if colon == len(b) {
		if whole {
			return ErrFieldColon
		}
		return nil
	}
	if b[colon] != ':' || colon == 0 {
		return badName(b[colon])
	}
	if i := colon + 1 + valueSpan(b[colon+1:]); i < len(b) {
		return badValue(b[i])
	}
	if whole {
		f.add(b, base, colon)
	}
	return nil
}

func badName(c byte) error {
	switch c {
	case ' ', '\t':
		return ErrFieldSpace
	case '\r':
		return ErrBareCR
	}
	return ErrFieldName
}

func badValue(c byte) error {
	if c == '\r' {
		return ErrBareCR
	}
	return ErrFieldValue
}

func (f *Fields) add(b []byte, base, colon int) {
	value := colon + 1
	for value < len(b) && (b[value] == ' ' || b[value] == '\t') {
		value++
	}
	end := len(b)
	for end > value && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	n := nameOf(b[:colon])
	if f.lines == nil {
		f.lines = make([]line, 0, 24) // more than most heads have
	}
	f.lines = append(f.lines, line{
		start: uint32(base), colon: uint32(base + colon),
		value: uint32(base + value), valueEnd: uint32(base + end),
		name: n, hop: nameTable[n].hop,
	})
	if f.count[n]++; f.count[n] == 1 {
		f.first[n] = uint16(len(f.lines))
	}
}

// Hop reports whether the i-th line is for this hop alone, by its name or because
// Connection names it. It is known once the head has been parsed to its end.
func (f *Fields) Hop(i int) bool { return f.lines[i].hop }
