package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// uploads is a clause of a rule.
func uploads(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		for _, s := range list {
			m, err := policy.ParseMediaType(s)
			if err != nil {
				panic(err)
			}
			r.Uploads = append(r.Uploads, m)
		}
	}
}

// form puts parts, each a header and a body, into a multipart upload.
func form(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--frontier\r\n" + p + "\r\n")
	}
	return b.String() + "--frontier--\r\n"
}

const (
	field      = "Content-Disposition: form-data; name=\"year\"\r\n\r\n7"
	table      = "Content-Disposition: form-data; name=\"f\"; filename=\"pupils.csv\"\r\nContent-Type: text/csv; charset=utf-8\r\n\r\na,b\r\n1,2"
	executable = "Content-Disposition: form-data; name=\"f\"; filename=\"secret-name.exe\"\r\nContent-Type: application/octet-stream\r\n\r\nMZ\x90\x00"
)

// uploadCases are uploads to a rule with uploads = multipart/form-data,
// text/plain and text/csv.
var uploadCases = []struct {
	name, contentType, more, body string
	passes                        bool
}{
	{"fields and a listed file pass", "multipart/form-data; boundary=frontier", "", form(field, table, field), true},
	{"in any case, and quoted", "Multipart/Form-Data; Boundary=\"frontier\"", "", form(strings.Replace(table, "Content-Type", "CONTENT-TYPE", 1)), true},
	{"no part at all passes", "multipart/form-data; boundary=frontier", "", "--frontier--", true},
	{"words before and behind pass", "multipart/form-data; boundary=frontier", "", "a preamble\r\n" + form(field) + "an epilogue", true},
	{"a part that mentions the boundary within a line passes", "multipart/form-data; boundary=frontier", "", form(field + " x--frontier"), true},
	{"a part with bare line feeds and long lines passes", "multipart/form-data; boundary=frontier", "", form(table + strings.Repeat("x", 5000) + "\n\n" + strings.Repeat("y", 300)), true},
	{"an empty part passes", "multipart/form-data; boundary=frontier", "", "--frontier\r\n\r\n--frontier--\r\n", true},
	{"a part that is not listed does not", "multipart/form-data; boundary=frontier", "", form(field, executable), false},
	{"nor the first one", "multipart/form-data; boundary=frontier", "", form(executable), false},
	{"nor one that says its type twice", "multipart/form-data; boundary=frontier", "", form("Content-Type: text/plain\r\nContent-Type: text/plain\r\n\r\nx"), false},
	{"nor one whose type says nothing", "multipart/form-data; boundary=frontier", "", form("Content-Type: ?\r\n\r\nx"), false},
	{"nor one whose header is folded", "multipart/form-data; boundary=frontier", "", form("Content-Type:\r\n application/octet-stream\r\n\r\nx"), false},
	{"nor one whose header has a space before the colon", "multipart/form-data; boundary=frontier", "", form("Content-Type : application/octet-stream\r\n\r\nx"), false},
	{"nor one with a very long header", "multipart/form-data; boundary=frontier", "", form("X: " + strings.Repeat("x", mostPartHeader) + "\r\n\r\nx"), false},
	{"nor parts within a part", "multipart/form-data; boundary=frontier", "", form("Content-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\r\nx\r\n--inner--"), false},
	{"nor a boundary behind a bare line feed", "multipart/form-data; boundary=frontier", "", form(field + "\n--frontier\r\nContent-Type: text/plain\r\n\r\nx"), false},
	{"nor one that ends in a bare line feed", "multipart/form-data; boundary=frontier", "", form(field + "\r\n--frontier\nContent-Type: application/octet-stream\n\nx"), false},
	{"nor a header with bare line feeds", "multipart/form-data; boundary=frontier", "", form("X: y\nContent-Type: application/octet-stream\r\n\r\nx"), false},
	{"nor a boundary that goes on", "multipart/form-data; boundary=frontier", "", form(field + "\r\n--frontiersman\r\nContent-Type: application/octet-stream\r\n\r\nx"), false},
	{"nor a part behind the end", "multipart/form-data; boundary=frontier", "", form(field) + form(executable), false},
	{"nor an upload that stops before its end", "multipart/form-data; boundary=frontier", "", "--frontier\r\n" + field + "\r\n", false},
	{"nor one without a boundary", "multipart/form-data", "", form(field), false},
	{"nor one with an empty boundary", "multipart/form-data; boundary=\"\"", "", form(field), false},
	{"nor one with two boundaries", "multipart/form-data; boundary=frontier; boundary=other", "", form(field), false},
	{"nor a compressed one", "multipart/form-data; boundary=frontier", "Content-Encoding: gzip\r\n", form(field), false},
	{"nor another kind of multipart", "multipart/mixed; boundary=frontier", "", form(field), false},
	{"nor a boundary behind a bare carriage return", "multipart/form-data; boundary=frontier", "", form(field + "\r--frontier\rContent-Type: text/html\r\rx"), false},
	{"nor one deep in a line behind such a one", "multipart/form-data; boundary=frontier", "", form(field + strings.Repeat("x", 200) + "\r--frontier\r\nContent-Type: text/html\r\n\r\nx"), false},
	{"nor a header with a bare carriage return", "multipart/form-data; boundary=frontier", "", form("X: y\rContent-Type: text/html\r\n\r\nx"), false},
	{"nor one with a NUL in it", "multipart/form-data; boundary=frontier", "", form("X: y\x00\r\nContent-Type\x00: text/html\r\n\r\nx"), false},
	{"nor a part with two types in one field", "multipart/form-data; boundary=frontier", "", form("Content-Type: text/plain; a=b, text/html\r\n\r\nx"), false},
	{"nor a boundary that some spell otherwise", "multipart/form-data; boundary=other; boundary*=utf-8''frontier", "", form(field), false},
	{"nor one in pieces", "multipart/form-data; boundary*0=frontier", "", form(field), false},
	{"nor one that some find in a parameter", "multipart/form-data; x=\"; boundary=other\"; boundary=frontier", "", form(field), false},
	{"nor one that some find in the name of a parameter", "multipart/form-data; xboundary=other; boundary=frontier", "", form(field), false},
	{"nor one with an escape", "multipart/form-data; boundary=\"frontier\\?\"", "", strings.ReplaceAll(form(field), "frontier", "frontier?"), false},
	{"nor one with bytes that no boundary has", "multipart/form-data; boundary=\"frontier;\"", "", strings.ReplaceAll(form(field), "frontier", "frontier;"), false},
	{"a boundary as browsers make it passes", "multipart/form-data; boundary=----WebKitFormBoundaryA1b2C3d4E5f6G7h8", "", strings.ReplaceAll(form(field, table), "frontier", "----WebKitFormBoundaryA1b2C3d4E5f6G7h8"), true},
	{"a part with bare carriage returns passes", "multipart/form-data; boundary=frontier", "", form(table + "\rx\r\r\ny\r"), true},
	{"a header of five thousand bytes passes", "multipart/form-data; boundary=frontier", "", form("X: " + strings.Repeat("x", 5000) + "\r\n\r\nx"), true},
	{"a body that is no multipart goes by its own type", "text/csv", "", form(executable), true},
}

func TestUploadsAreJudgedPartByPart(t *testing.T) { overBoth(t, testUploadsAreJudgedPartByPart) }

func testUploadsAreJudgedPartByPart(t *testing.T, over carrier) {
	for _, test := range uploadCases {
		t.Run(test.name, func(t *testing.T) {
			o := over.origin(t)
			g := over.gate(t, options{}, over.allow(www, o.Port, uploads("multipart/form-data", "text/plain", "text/csv")))
			c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nConnection: close\r\nContent-Type: %[2]s\r\n%[3]sContent-Length: %[4]d\r\n\r\n%[5]s",
				o.Port, test.contentType, test.more, len(test.body), test.body)
			if test.passes {
				s := o.Take(t)
				s.Head()
				s.Expect(test.body)
				s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
			}
			resp, body := c.Response("POST")
			r := g.record()
			if test.passes {
				require.Equal(t, 204, resp.StatusCode, body)
				require.Equal(t, policy.Matched, r.Verdict.Reason)
				return
			}
			require.Equal(t, 403, resp.StatusCode)
			require.Equal(t, policy.UploadNotListed, r.Verdict.Reason)
			require.NotContains(t, fmt.Sprint(r)+body, "secret-name", "names of files are never told")
		})
	}
}

func TestAPartThatIsRefusedCutsTheUpload(t *testing.T) {
	overBoth(t, testAPartThatIsRefusedCutsTheUpload)
}

func testAPartThatIsRefusedCutsTheUpload(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port, uploads("multipart/form-data", "text/plain")))
	c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Type: multipart/form-data; boundary=frontier\r\nTransfer-Encoding: chunked\r\n\r\n", o.Port)
	s := o.Take(t)
	s.Head()
	c.Chunk("--frontier\r\n" + field)
	s.ExpectChunk("--frontier\r\n" + field) // it is not held back
	c.Chunk("\r\n--frontier\r\n" + executable)
	rest, _ := s.Ended()
	require.NotContains(t, rest, "MZ")
	require.NotContains(t, rest, "\r\n0\r\n", "it never looks complete")
	resp, _ := c.Response("POST")
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, policy.UploadNotListed, g.record().Verdict.Reason)
}

func TestOneRulePermitsThePartsAndTheAnswer(t *testing.T) {
	overBoth(t, testOneRulePermitsThePartsAndTheAnswer)
}

func testOneRulePermitsThePartsAndTheAnswer(t *testing.T, over carrier) {
	o := over.origin(t)
	sends := over.allow(www, o.Port, uploads("multipart/form-data", "text/csv"), types("*", "text/html"))
	takes := over.allow(www, o.Port, uploads("multipart/form-data", "text/plain"), types("*", "text/plain"))
	takes.Name = "takes"
	for _, test := range []struct {
		name, part, declared string
		reason               policy.Reason
	}{
		{"the rule of the part permits the type", table, "text/html", policy.Matched},
		{"another rule does", table, "text/plain", policy.TypeNotListed},
		{"the other rule's part and type", field, "text/plain", policy.Matched},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := over.gate(t, options{}, sends, takes)
			c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=frontier\r\nTransfer-Encoding: chunked\r\n\r\n", o.Port)
			s := o.Take(t)
			s.Head()
			c.Chunk(form(test.part))
			s.ExpectChunk(form(test.part))
			c.Say("0\r\n\r\n")
			s.Expect("0\r\n\r\n").Say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: 2\r\n\r\nhi", test.declared).Close()
			c.Response("POST")
			require.Equal(t, test.reason, g.record().Verdict.Reason)
		})
	}
}

func TestAnUploadEndsWithTheRuleOfItsParts(t *testing.T) {
	overBoth(t, testAnUploadEndsWithTheRuleOfItsParts)
}

func testAnUploadEndsWithTheRuleOfItsParts(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port, uploads("multipart/form-data", "text/plain")))
	c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Type: multipart/form-data; boundary=frontier\r\nTransfer-Encoding: chunked\r\n\r\n", o.Port)
	s := o.Take(t)
	s.Head()
	c.Chunk("--frontier\r\n" + field)
	s.ExpectChunk("--frontier\r\n" + field)
	g.swap(policy.Enforce, over.allow(www, o.Port, uploads("multipart/form-data")))
	g.server.Review()
	_, err := c.Ended()
	require.Error(t, err)
	r := g.record()
	require.Equal(t, "policy", r.End)
	require.Equal(t, policy.UploadNotListed, r.Verdict.Reason)
}

func TestPartsAreNotToldApartWhereNoRuleSpeaksOfUploads(t *testing.T) {
	o := carrier{}.origin(t)
	g := carrier{}.gate(t, options{}, carrier{}.allow(www, o.Port))
	body := "--frontier\r\n" + executable // it does not even end
	c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=frontier\r\nContent-Length: %[2]d\r\n\r\n%[3]s", o.Port, len(body), body)
	s := o.Take(t)
	s.Head()
	s.Expect(body)
	s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
	resp, _ := c.Response("POST")
	require.Equal(t, 204, resp.StatusCode)
}

// readParts gives the types of an upload's parts as they are judged, and whether
// all of it may pass; cuts says where the pieces end.
func readParts(t testing.TB, contentType, more, body string, cuts func(i int) bool) (kinds []string, passes bool) {
	var r http1.Request
	head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\n" + more + "\r\n"
	_, err := r.Parse([]byte(head), http1.Limits{HeadBytes: 1 << 16})
	require.NoError(t, err)
	p := newParts(&r.Fields, func(m policy.MediaType) bool {
		kinds = append(kinds, m.String())
		return m.String() == "text/plain" || m.String() == "text/csv"
	})
	if p == nil {
		return nil, true
	}
	begin := 0
	for i := range len(body) {
		if i == len(body)-1 || cuts(i) {
			if !p.take([]byte(body[begin : i+1])) {
				return kinds, false
			}
			begin = i + 1
		}
	}
	return kinds, p.end()
}

func TestPartsAreTheSameHoweverTheyArrive(t *testing.T) {
	for _, test := range uploadCases {
		if test.contentType == "multipart/mixed; boundary=frontier" {
			continue // refused by its own type
		}
		whole, passes := readParts(t, test.contentType, test.more, test.body, func(int) bool { return false })
		require.Equal(t, test.passes, passes, test.name)
		single, passes := readParts(t, test.contentType, test.more, test.body, func(int) bool { return true })
		require.Equal(t, test.passes, passes, test.name)
		require.Equal(t, whole, single, test.name)
	}
}

func FuzzParts(f *testing.F) {
	for _, test := range uploadCases {
		f.Add(test.body, uint8(3))
	}
	f.Fuzz(func(t *testing.T, body string, step uint8) {
		const contentType = "multipart/form-data; boundary=frontier"
		whole, passes := readParts(t, contentType, "", body, func(int) bool { return false })
		pieces, same := readParts(t, contentType, "", body, func(i int) bool { return i%(int(step)+1) == 0 })
		if passes != same || fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Fatalf("%v %v, in pieces %v %v", whole, passes, pieces, same)
		}
	})
}
