package appliance

import (
	"gatehouse/appliance/journal"
)

// cause is who asked for a change, and by which of the journal's deeds. What has
// no deed is not written down: it undoes what was not done.
type cause struct{ by, deed string }

// byItself is who acts where nobody asked.
const byItself = "gatehouse"

// outside is the cause of what is found on the disk.
var outside = cause{"whoever can write the file", journal.Edit}

// journalize writes down what became of a reload, and keeps the file that is in
// force. What cannot be written down is said in the log and stops nothing.
func (b *rulebook) journalize(c cause, o Outcome) {
	e := journal.Entry{Time: b.now(), By: c.by, What: c.deed, Done: o.Taken, Words: o.Changes}
	if o.Taken {
		e.SHA256 = journal.Digest(b.text)
		if err := b.journal.Keep(b.text, e.Time); err != nil {
			b.log.Error("the rules are in force and will not be found in the history; make room in state.dir", "err", err)
		}
	} else if e.Words = brief(o.Problems); o.Held != "" {
		e.Words = []string{o.Held}
	}
	if c.deed != "" {
		b.writeDown(e)
	}
}

func (b *rulebook) writeDown(e journal.Entry) {
	if err := b.journal.Note(e); err != nil {
		b.log.Error("a change is not in the audit trail; make state.dir writable", "by", e.By, "what", e.What, "err", err)
	}
}

// begun writes down what a start found, where that is not what was in force last.
func (b *rulebook) begun(words ...string) {
	entries, unread, err := b.journal.Entries()
	if err != nil || unread > 0 {
		b.log.Warn("the audit trail cannot be read in full", "unreadable_lines", unread, "err", err)
	}
	now := journal.Digest(b.text)
	for _, e := range entries {
		if e.SHA256 == now {
			return
		}
		if e.SHA256 != "" {
			break
		}
	}
	b.journalize(cause{byItself, journal.Start}, Outcome{Taken: true, Changes: words})
}
