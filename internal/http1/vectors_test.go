package http1

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vector is one message of testdata/*.txt and what must become of it.
type vector struct {
	name           string
	raw            []byte
	method         string // of the request that an answer answers
	limits         Limits
	outcome        string // "ok", "more", or a status and a code
	want           map[string]string
	emit, absolute string // heads emitted towards an origin and a parent
}

func vectors(t testing.TB, file string) []vector {
	text, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	var all []vector
	for number, l := range strings.Split(string(text), "\n") {
		if l == "" || strings.HasPrefix(l, "//") {
			continue
		}
		mark, rest := l[:1], strings.TrimPrefix(l[1:], " ")
		if mark == "#" {
			all = append(all, vector{name: rest, method: "GET", want: map[string]string{}})
			continue
		}
		require.NotEmpty(t, all, "%s:%d", file, number+1)
		require.NoError(t, all[len(all)-1].line(mark, rest), "%s:%d", file, number+1)
	}
	return all
}

func (v *vector) line(mark, rest string) error {
	switch mark {
	case "@":
		return v.setting(rest)
	case "<":
		times := 1
		if repeat, of, ok := strings.Cut(rest, " "); ok && strings.HasPrefix(repeat, "*") {
			n, err := strconv.Atoi(repeat[1:])
			if err != nil {
				return err
			}
			times, rest = n, of
		}
		b, err := unescape(rest)
		v.raw = append(v.raw, strings.Repeat(b, times)...)
		return err
	case "=":
		words := strings.Fields(rest)
		at := 1
		if words[0] != "ok" && words[0] != "more" {
			at = 2
		}
		v.outcome = strings.Join(words[:at], " ")
		for _, w := range words[at:] {
			key, value, _ := strings.Cut(w, "=")
			value, err := unescape(strings.ReplaceAll(value, "_", " "))
			if err != nil {
				return err
			}
			v.want[key] = value
		}
		return nil
	case ">", "^":
		b, err := unescape(rest)
		if mark == ">" {
			v.emit = b
		} else {
			v.absolute = b
		}
		return err
	}
	return fmt.Errorf("no such mark: %s", mark)
}

func (v *vector) setting(s string) (err error) {
	key, value, _ := strings.Cut(s, "=")
	switch key {
	case "method":
		v.method = value
	case "bytes":
		v.limits.HeadBytes, err = strconv.Atoi(value)
	case "fields":
		v.limits.Fields, err = strconv.Atoi(value)
	default:
		err = fmt.Errorf("no such setting: %s", key)
	}
	return err
}

func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
}

// outcome is how a reading ended, in the vectors' words.
func outcome(done bool, err error) string {
	if err != nil {
		e := err.(Error)
		return fmt.Sprintf("%d %s", e.Status(), e.Code())
	}
	if done {
		return "ok"
	}
	return "more"
}

// pieces feeds ever more of raw to a parser, in steps, each time in a new buffer
// whose former self is overwritten: nothing may be kept of it.
func pieces(raw []byte, step int, parse func([]byte) (int, error)) (n int, err error) {
	var last []byte
	for end := 0; ; end = min(end+step, len(raw)) {
		buf := bytes.Clone(raw[:end])
		n, err = parse(buf)
		for i := range last {
			last[i] = '!'
		}
		last = buf
		if n > 0 || err != nil || end == len(raw) {
			return n, err
		}
	}
}

func TestRequests(t *testing.T) {
	for _, v := range vectors(t, "requests.txt") {
		t.Run(v.name, func(t *testing.T) {
			var r Request
			for _, step := range []int{max(len(v.raw), 1), 1, 7} {
				n, err := pieces(v.raw, step, func(b []byte) (int, error) { return r.Parse(b, v.limits) })
				require.Equal(t, v.outcome, outcome(n > 0, err), "in steps of %d", step)
				if n > 0 {
					v.check(t, requestParts(&r), n, step)
					v.emitted(t, v.emit, AppendRequest(nil, &r, false, &Changes{Via: gate}))
					v.emitted(t, v.absolute, AppendRequest(nil, &r, true, &Changes{Via: gate}))
				}
				r.Reset()
			}
		})
	}
}

func TestResponses(t *testing.T) {
	for _, v := range vectors(t, "responses.txt") {
		t.Run(v.name, func(t *testing.T) {
			var r Response
			for _, step := range []int{max(len(v.raw), 1), 1, 7} {
				n, err := pieces(v.raw, step, func(b []byte) (int, error) { return r.Parse(b, v.method, v.limits) })
				require.Equal(t, v.outcome, outcome(n > 0, err), "in steps of %d", step)
				if n > 0 {
					v.check(t, responseParts(&r), n, step)
					v.emitted(t, v.emit, AppendResponse(nil, &r, r.Declared, &Changes{Via: gate}))
				}
				r.Reset()
			}
		})
	}
}

func TestChunkedBodies(t *testing.T) {
	for _, v := range vectors(t, "chunked.txt") {
		t.Run(v.name, func(t *testing.T) {
			for _, step := range []int{max(len(v.raw), 1), 1, 2, 7} {
				c := ChunkReader{Limits: v.limits}
				n, err := checkInSteps(&c, v.raw, step)
				require.Equal(t, v.outcome, outcome(c.Done(), err), "in steps of %d", step)
				parts := map[string]string{"data": fmt.Sprint(c.Data())}
				v.check(t, parts, n, step)
				if err != nil {
					_, again := c.Check([]byte("0\r\n\r\n"))
					require.Equal(t, err, again, "an error stays")
					require.False(t, c.Done())
				}
			}
		})
	}
}

func checkInSteps(c *ChunkReader, raw []byte, step int) (n int, err error) {
	for n < len(raw) && !c.Done() {
		piece := raw[n:min(n+step, len(raw))]
		m, err := c.Check(piece)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (v *vector) check(t *testing.T, got map[string]string, n, step int) {
	t.Helper()
	if v.outcome == "ok" {
		got["rest"] = fmt.Sprint(len(v.raw) - n)
		if step == len(v.raw) && v.want["rest"] == "" {
			v.want["rest"] = "0"
		}
	}
	for key, want := range v.want {
		value, known := got[key]
		require.True(t, known, "no such part: %s", key)
		if key != "rest" || step == len(v.raw) {
			require.Equal(t, want, strings.ReplaceAll(value, "_", " "), key)
		}
	}
}

func (v *vector) emitted(t *testing.T, want string, got []byte) {
	t.Helper()
	if want != "" {
		require.Equal(t, want, string(got))
	}
}

func requestParts(r *Request) map[string]string {
	a := r.Authority()
	return map[string]string{
		"method": string(r.Method), "form": [...]string{"", "origin", "absolute", "authority", "asterisk"}[r.Target.Form],
		"scheme": string(r.Target.Scheme), "host": string(a.Host), "port": fmt.Sprint(a.Port),
		"path": string(r.Target.Path), "query": orDash(r.Target.Query), "body": bodyWord(r.Body),
		"mismatch": fmt.Sprint(r.HostMismatch), "persistent": fmt.Sprint(r.Persistent()),
		"keepalive": fmt.Sprint(r.Options.Has(OptionKeepAlive)), "proxykeepalive": fmt.Sprint(r.Options.Has(OptionProxyKeepAlive)),
		"expect": [...]string{"none", "continue", "unknown"}[r.Expect], "upgrade": orDash(r.Upgrade),
		"fields": fmt.Sprint(r.Len()), "types": fmt.Sprint(r.Count(ContentType)), "type": string(r.Value(ContentType)),
		"via": fmt.Sprint(r.Has(Via)), "proxyauth": fmt.Sprint(r.Has(ProxyAuthorization)), "loop": fmt.Sprint(r.PassedThrough(gate)),
	}
}

func responseParts(r *Response) map[string]string {
	return map[string]string{
		"status": fmt.Sprint(r.Status), "reason": string(r.Reason), "body": bodyWord(r.Body), "declared": bodyWord(r.Declared),
		"persistent": fmt.Sprint(r.Persistent()), "interim": fmt.Sprint(r.Interim()), "upgrade": orDash(r.Upgrade),
		"fields": fmt.Sprint(r.Len()), "types": fmt.Sprint(r.Count(ContentType)), "type": string(r.Value(ContentType)),
	}
}

func bodyWord(b Body) string {
	if b.Kind == Sized {
		return fmt.Sprint(b.Length)
	}
	return map[BodyKind]string{NoBody: "none", Chunked: "chunked", UntilClose: "close", Tunnel: "tunnel"}[b.Kind]
}

func orDash(b []byte) string {
	if b == nil {
		return "-"
	}
	return string(b)
}

var gate = Pseudonym{name: "gate"}

func TestEveryErrorHasAVectorAndAnExplanation(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range []string{"requests.txt", "responses.txt", "chunked.txt"} {
		names := map[string]bool{}
		for _, v := range vectors(t, file) {
			require.False(t, names[v.name], "two vectors say: %s", v.name)
			names[v.name], seen[v.outcome] = true, true
		}
	}
	for e := Error(1); e < numErrors; e++ {
		require.True(t, seen[fmt.Sprintf("%d %s", e.Status(), e.Code())], "no vector shows %s", e.Code())
		require.Contains(t, e.Error(), e.Section())
		require.Regexp(t, `^RFC \d+, section`, e.Section())
		require.Contains(t, []int{400, 414, 431, 501}, e.Status(), e.Code())
	}
}
