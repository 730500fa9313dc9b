package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// speaksHTTP reports whether requests can be tried: plain HTTP, and TLS on the
// port of https. Other TLS ports carry AMQP and the like.
func (w *way) speaksHTTP() bool {
	return w.t.protocol == policy.PlainHTTP || w.t.protocol == policy.TLS && w.t.dest.Port == 443
}

// method is one that the rule permits; GET before others.
func (w *way) method() string {
	if m := w.t.rule.Methods; m != nil && !slices.Contains(m, "GET") && len(m) > 0 {
		return m[0]
	}
	return "GET"
}

func (w *way) methodListed(method string) bool {
	return w.t.rule.Methods == nil || slices.Contains(w.t.rule.Methods, method)
}

// path is one that the rule permits, and names in full; "/" where it does not
// speak of paths.
func (w *way) path() string {
	if p := w.t.published; p != nil && len(p.Paths) > 0 {
		return (&url.URL{Path: strings.ReplaceAll(p.Paths[0].String(), "*", "")}).EscapedPath()
	}
	for _, g := range w.t.rule.Paths {
		if p := g.String(); !strings.Contains(p, "*") {
			return (&url.URL{Path: p}).EscapedPath()
		}
	}
	return "/"
}

// get asks for a page. Any answer of the origin will do: it is the way that is
// tried, not the page.
func (w *way) get(ctx context.Context) *Check {
	if !w.methodListed("GET") {
		return Skipped("", "the rule does not permit GET")
	}
	a, bad := w.tell(ctx, request{method: "GET"})
	if bad != nil {
		return bad
	}
	w.readClock(a.Header.Get("Date"))
	return Fine("", a.words())
}

// post sends no content, and says so.
func (w *way) post(ctx context.Context) *Check {
	if !w.methodListed("POST") {
		return Skipped("", "the rule does not permit POST")
	}
	a, bad := w.tell(ctx, request{method: "POST", fields: "Content-Length: 0\r\n"})
	if bad != nil {
		return bad
	}
	return Fine("", a.words())
}

// tell asks and looks whether a hop on the way is at fault; bad is nil where none
// is.
func (w *way) tell(ctx context.Context, r request) (a *answer, bad *Check) {
	a, err := w.ask(ctx, r)
	if err != nil {
		return nil, Bad("", "no answer: "+err.Error(), "see whether a filter on the way cuts the connection")
	}
	return a, w.blamed(ctx, r, a)
}

// blamed is the check where an answer is not the origin's, or one that no origin
// of ours gives; else nil. What a parent may have said is asked once more past
// it, where that can be done.
func (w *way) blamed(ctx context.Context, r request, a *answer) *Check {
	if a.line.Absolute {
		if fault := w.d.Gate.Blame(a.line.Parent, a.StatusCode); fault != nil {
			return w.whose(ctx, r, a, fault)
		}
		return nil
	}
	if r.method == "POST" && (a.StatusCode == http.StatusLengthRequired || a.StatusCode == http.StatusNotImplemented || a.StatusCode == http.StatusExpectationFailed) {
		return Bad("", a.words()+": "+hop(a.Response)+" does not take it", "a proxy on the way must let HTTP/1.1 through unchanged, or be gone round")
	}
	return nil
}

// whose finds out whether a parent or the place behind it gave an answer.
func (w *way) whose(ctx context.Context, r request, a *answer, fault Fault) *Check {
	if a.StatusCode == http.StatusProxyAuthRequired {
		return Bad("", clause(fault.Why()), fault.Fix()) // no origin says that
	}
	past, err := w.past().ask(ctx, r)
	switch {
	case err != nil:
		return Suspect("", fmt.Sprintf("%s: if it is not the place itself that says so, %s", a.words(), clause(fault.Why())), fault.Fix())
	case past.StatusCode != a.StatusCode:
		return Bad("", fmt.Sprintf("%s; past it the place answers %d", clause(fault.Why()), past.StatusCode), fault.Fix())
	case r.method == "POST" && a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusMethodNotAllowed:
		return Bad("", fmt.Sprintf("%s, also past the parent proxy: %s does not take it", a.words(), hop(past.Response)), "tell the vendor")
	}
	return nil
}

// past is the same way without parent proxies. It is opened when it is asked on.
func (w *way) past() *way {
	return &way{d: w.d, t: w.t, permit: w.permit, permits: w.permits, choice: "direct"}
}

// hop names who answered, as far as it says so.
func hop(resp *http.Response) string {
	for _, field := range []string{"Via", "Server"} {
		if v := resp.Header.Get(field); v != "" {
			return fmt.Sprintf("%q", v)
		}
	}
	return "whoever answered"
}

// mostSkew is by how much a clock may be wrong: tokens of Service Bus and
// certificates are judged by it.
const mostSkew = 2 * time.Minute

// KeepClock is how a machine's clock is kept right. A container's is that of the
// machine that runs it.
const KeepClock = "see timedatectl: \"NTP service: n/a\": apt install systemd-timesyncd; \"inactive\": timedatectl set-ntp true; " +
	"\"active\", and not synchronized: let it ask its time server over UDP 123, or name the school's by NTP= in /etc/systemd/timesyncd.conf; " +
	"with chrony: chronyc sources; in a container: the same on the machine that runs it"

// readClock holds the machine's clock against the Date that came back.
func (w *way) readClock(date string) {
	then, err := http.ParseTime(date)
	if err != nil {
		return
	}
	off := w.d.Now().Sub(then).Round(time.Second)
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if w.d.clock == "" || off.Abs() < w.d.off.Abs() {
		w.d.off, w.d.clock = off, w.t.dest.Host.String()
	}
}

// clockCheck is what the answers said of the clock: of several origins the one
// that agrees best, for theirs may be wrong too. Nil where none said anything.
func (d *Doctor) clockCheck() *Check {
	switch {
	case d.clock == "":
		return nil
	case d.off.Abs() > mostSkew:
		return Bad("clock", fmt.Sprintf("this machine's clock is %s off that of %s", d.off, d.clock), KeepClock)
	}
	return Fine("clock", "agrees with that of "+d.clock)
}
