package proxy

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/http1"
)

func TestTheDateIsThatOfTheSecond(t *testing.T) {
	var d dateline
	began := time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", 3600))
	for _, at := range []time.Time{began, began, began.Add(1), began.Add(time.Hour), began} {
		require.Equal(t, "Date: "+at.UTC().Format(http.TimeFormat), string(d.append([]byte("Date: "), at)))
	}
}

// What an origin said before is remembered, and only for who says the same alone.
func TestTheTypeOfEachAnswerIsItsOwn(t *testing.T) {
	l := &link{}
	for _, fields := range []string{
		"Content-Type: text/css\r\n",
		"Content-Type: text/css\r\n",
		"Content-Type: text/css\r\nContent-Type: text/css\r\n",
		"Content-Type: text/css\r\n",
		"Content-Type: text/css\r\nConnection: content-type\r\n",
		"",
		"Content-Type: text/css\r\n",
		"Content-Type: text/html\r\n",
		"Content-Type: \r\n",
		"Content-Type: text/css, text/html\r\n",
		"Content-Type: text/html\r\n",
	} {
		head := []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + "\r\n")
		_, err := l.answer.Parse(head, http.MethodGet, http1.Limits{HeadBytes: 4096})
		require.NoError(t, err)
		require.Equal(t, contentType(&l.answer.Fields), l.declares(), fields)
	}
	require.Equal(t, "text/html", l.declares().String())
}
