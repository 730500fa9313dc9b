package flow

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestALineReadBackIsWrittenAgainAsItWas(t *testing.T) {
	open, would, repeated := request(), refusal(), question()
	open.Open, open.End = true, ""
	would.Verdict = policy.Verdict{Effect: policy.Allow, Would: true, Reason: policy.PortNotListed, Rule: &policy.Rule{Name: "a", Line: 3}}
	repeated.Repeats = 7
	for _, r := range []*Record{request(), open, refusal(), would, question(), repeated} {
		line := JSON(nil, r)
		back, err := ParseLine(line)
		require.NoError(t, err)
		require.Equal(t, string(line), string(JSON(nil, back)))
	}
}

func TestALogIsReadPastWhatIsNoDecision(t *testing.T) {
	whole := string(JSON(nil, request()))
	log := whole + "\n" + whole[:40] + "\n" + `{"ts":"2026-03-04T04:06:07Z"}` + "\n" +
		strings.Repeat("x", 3*longestLine) + "\n" + string(JSON(nil, question())) + whole[:len(whole)-1]
	var ids []string
	unread, err := Read(strings.NewReader(log), func(r *Record) { ids = append(ids, r.ID) })
	require.NoError(t, err)
	require.Equal(t, []string{request().ID, question().ID, request().ID}, ids, "the last line may lack its end")
	require.Equal(t, 3, unread, "a torn line, one without a surface, one that is far too long")
}

func TestALogThatCannotBeReadOnSaysSo(t *testing.T) {
	torn := errors.New("input/output error")
	_, err := Read(iotest.ErrReader(torn), func(*Record) { t.Fatal("there is none") })
	require.ErrorIs(t, err, torn)
}

func TestWhatIsNoDecisionIsRefusedWithItsReason(t *testing.T) {
	whole := string(JSON(nil, request()))
	for name, c := range map[string]struct{ old, with, says string }{
		"another surface":  {`"surface":"http"`, `"surface":"ftp"`, "surface"},
		"another protocol": {`"protocol":"http"`, `"protocol":"ftp"`, `"ftp" is no protocol`},
		"another verdict":  {`"verdict":"allowed"`, `"verdict":"maybe"`, `"maybe" is no verdict`},
		"another reason":   {`"reason":"matched"`, `"reason":"because"`, `"because" is no reason`},
		"no JSON":          {`{`, `[`, "no line of a decision log"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseLine([]byte(strings.Replace(whole, c.old, c.with, 1)))
			require.ErrorContains(t, err, c.says)
		})
	}
}

func FuzzParseLine(f *testing.F) {
	for _, r := range []*Record{request(), refusal(), question()} {
		f.Add(JSON(nil, r))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseLine(line)
		if err != nil || r.Time.Year() < 0 || r.Time.Year() > 9999 || max(r.Duration, r.FirstByte) > 1000*time.Hour || min(r.Duration, r.FirstByte) < 0 {
			return
		}
		once := JSON(nil, r)
		back, err := ParseLine(once)
		require.NoError(t, err)
		require.Equal(t, string(once), string(JSON(nil, back)))
	})
}
