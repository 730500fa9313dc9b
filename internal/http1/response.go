package http1

// Response is the head of an answer in its parts, read by Parse under the terms of
// Request.
type Response struct {
	Fields
	Status   int    // 100 to 599
	Reason   []byte // may be empty
	Minor    uint8  // HTTP/1.Minor, 0 or 1
	Declared Body   // what the fields say: NoBody, Sized or Chunked
	Body     Body   // what follows, the method and the status considered
	Options  Options
	Upgrade  []byte // the protocols named, nil where Upgrade does not count

	progress progress
}

// Parse looks for the head of an answer to a request of the given method at the
// beginning of buf; for the rest see Request.Parse. Interim answers (1xx other
// than 101) are heads like others: the final one is parsed after them. Whether a
// 101 was asked for is the caller's to judge.
func (r *Response) Parse(buf []byte, method string, limits Limits) (int, error) {
	if !r.progress.begun {
		r.Reset()
		r.progress.begun = true
	}
	n, err := r.progress.read(&r.Fields, r, buf, limits)
	if n > 0 && err == nil {
		err = r.finish(method)
	}
	return r.progress.end(n, err)
}

// Reset forgets everything, an unfinished head too; the memory for fields stays.
func (r *Response) Reset() {
	r.Fields.reset()
	*r = Response{Fields: r.Fields}
}

// Interim reports whether the final answer is still to come.
func (r *Response) Interim() bool { return r.Status < 200 && r.Status != 101 }

// Persistent reports whether the connection may serve another request once the
// body has been read to its end (RFC 9112, section 9.3).
func (r *Response) Persistent() bool {
	switch {
	case r.Options.Has(OptionClose), r.Body.Kind == UntilClose, r.Body.Kind == Tunnel:
		return false
	}
	return r.Minor == 1 || r.Options.Has(OptionKeepAlive)
}

// startLine reads HTTP-version SP status-code SP [ reason-phrase ]. The second
// space stands even where there is no reason (RFC 9112, section 4).
func (r *Response) startLine(b []byte, whole bool) (skip bool, err error) {
	const version, status = len("HTTP/1.1"), len("HTTP/1.1 200")
	minor, err := readVersion(b[:min(len(b), version)], false)
	switch {
	case err != nil:
		return false, err
	case len(b) > version && b[version] != ' ':
		return false, ErrStatusLine
	}
	// Each byte is judged before the length of the line, so that a line which
	// arrives in pieces is refused for the same reason as a whole one.
	code := b[min(len(b), version+1):min(len(b), status)]
	if span(code, classDigit) != len(code) {
		return false, ErrStatusCode
	}
	if len(code) == 3 {
		r.Minor, r.Status = minor, int(code[0]-'0')*100+int(code[1]-'0')*10+int(code[2]-'0')
		if r.Status < 100 || r.Status > 599 {
			return false, ErrStatusCode
		}
	}
	switch {
	case len(b) > status && b[status] != ' ', len(b) <= status && whole:
		return false, ErrStatusLine
	case len(b) <= status:
		return false, nil
	}
	r.Reason = b[status+1:]
	if i := valueSpan(r.Reason); i < len(r.Reason) {
		if r.Reason[i] == '\r' {
			return false, ErrBareCR
		}
		return false, ErrReason
	}
	return false, nil
}

func (r *Response) startTooLong() error { return ErrHeadBytes }

func (r *Response) finish(method string) (err error) {
	if r.Declared, err = r.declared(r.Minor); err != nil {
		return err
	}
	if r.Options, err = r.connection(); err != nil {
		return err
	}
	if err = r.announced(); err != nil {
		return err
	}
	if r.Upgrade, err = r.upgrade(r.Minor, r.Options); err != nil {
		return err
	}
	r.Body, err = r.follows(method)
	return err
}

// follows says what comes after the head, in the order of RFC 9112, section 6.3.
func (r *Response) follows(method string) (Body, error) {
	switch {
	case r.Status == 204 || r.Status < 200:
		// No body whatever the fields say; fields that claim one mean an origin
		// that counts otherwise than we do. A length of 0 is common and harmless.
		switch {
		case r.Declared.Kind == Chunked:
			return Body{}, ErrCodingForbidden
		case r.Declared.Length > 0:
			return Body{}, ErrLengthForbidden
		case r.Status == 101:
			return Body{Kind: Tunnel}, nil
		}
		return Body{}, nil
	case method == "HEAD" || r.Status == 304:
		return Body{}, nil
	case method == "CONNECT" && r.Status < 300:
		return Body{Kind: Tunnel}, nil // its length and coding are ignored (RFC 9110, section 9.3.6)
	case r.Declared.Kind == NoBody:
		return Body{Kind: UntilClose}, nil
	}
	return r.Declared, nil
}
