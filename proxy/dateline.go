package proxy

import (
	"net/http"
	"sync/atomic"
	"time"
)

// dateline spells the moment for the Date of our own answers (RFC 9110, section 6.6.1).
// It is spelt once for each second: by its layout each answer would spend on it as much
// as on finding out that it is a refusal. The zero dateline is ready.
type dateline struct{ last atomic.Pointer[spelt] }

type spelt struct {
	second int64 // since 1970
	text   string
}

func (d *dateline) append(dst []byte, now time.Time) []byte {
	s := d.last.Load()
	if s == nil || s.second != now.Unix() {
		s = &spelt{now.Unix(), now.UTC().Format(http.TimeFormat)}
		d.last.Store(s)
	}
	return append(dst, s.text...)
}
