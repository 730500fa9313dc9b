//go:build linux

package appliance

import (
	"gatehouse/appliance/journal"
	"time"
)

// loadCA takes the inspection CA into use and says what became of it, in the log
// and the metrics. Where there is none the gate inspects nothing, and refuses
// what it would have to inspect.
func (a *Appliance) loadCA() {
	err := a.ca.load()
	if err == errOff {
		return
	}
	authority := a.ca.authority()
	if failed := a.gate.Inspect(authority); failed != nil {
		a.ca.refuse(failed)
		a.gate.Inspect(nil)
		err = failed
	}
	if err != nil {
		a.tally.InspectionCA(time.Time{})
		a.Log.Error("inspection is on and cannot begin: hosts whose rules need a look inside TLS are refused (no-policy), all others go by their outer rules", "err", err)
		return
	}
	present := authority.Present()
	a.tally.InspectionCA(present.Certificate.NotAfter)
	a.Log.Info("inspection CA in use", "ca", present.Certificate.Subject.CommonName, "file", present.File,
		"domains", present.Domains(), "until", present.Certificate.NotAfter.Format(time.DateOnly))
	if next, ok := authority.Next(); ok {
		a.Log.Info("the next inspection CA is ready: every client must trust it before it signs",
			"ca", next.Certificate.Subject.CommonName, "signs_from", next.Begins().Format(time.RFC3339))
	}
	a.sayCAEnding()
}

// sayCAEnding warns of a CA that ends soon.
func (a *Appliance) sayCAEnding() {
	if words := a.ca.ending(a.Now()); words != "" {
		a.Log.Warn(words)
	}
}

// caWatcher takes a changed CA, and the next one when its day has come.
func (a *Appliance) caWatcher() *watcher {
	return &watcher{
		path: a.ca.dir, log: a.Log, judged: a.ca.Judged, look: a.ca.look,
		act: func(sight) { a.guarded("inspection CA", a.caChanged) },
	}
}

// caChanged takes the CA into use, and judges the rules file anew: it may have
// been refused for a host that the CA did not cover.
func (a *Appliance) caChanged() {
	a.loadCA()
	a.logOutcome("inspection CA changed", a.rulebook.Reload(cause{outside.by, journal.CA}, true))
}
