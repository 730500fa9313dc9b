//go:build linux

package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gatehouse/appliance/alarm"
	"gatehouse/internal/flow"
	"gatehouse/internal/wholefile"
)

// alarmFile is the file in state.dir that keeps what was told.
const alarmFile = "alarms.json"

// keptAlarms is what it holds.
type keptAlarms struct {
	Bell     alarm.State      `json:"bell"`
	Happened map[string]event `json:"happened"` // refusals, by the pack's rule
	Unready  map[string]bool  `json:"unready"`  // packs
}

// event is a refusal as it is told, long after its Record is gone.
type event struct {
	At   time.Time `json:"at"`
	Says string    `json:"says"`
	Fix  string    `json:"fix"`
}

func eventOf(r *flow.Record) event {
	return event{r.Time, fmt.Sprintf("%s was refused for client %s: %s (%s).", passage(r), r.Client, r.Verdict.Reason, r.ID), "gatehouse explain " + r.ID}
}

// kept is what the troubles are, for a file.
func (t *troubles) kept(k *keptAlarms) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.Happened, k.Unready = map[string]event{}, map[string]bool{}
	for rule, e := range t.before {
		k.Happened[rule] = e
	}
	for rule, r := range t.refused {
		k.Happened[rule] = eventOf(r)
	}
	for pack, unready := range t.unready {
		k.Unready[pack] = unready
	}
}

// restore takes up what was kept; what has happened since is newer.
func (t *troubles) restore(k *keptAlarms, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rule, e := range k.Happened {
		if e.At.After(now) {
			e.At = now // the clock was wrong
		}
		t.before[rule] = e
	}
	for pack, unready := range k.Unready {
		if _, tried := t.unready[pack]; !tried {
			t.unready[pack] = unready
		}
	}
}

// recallAlarms takes up what was told before the restart. A file that is damaged is
// said, and costs no more than that something may be told twice.
func (a *Appliance) recallAlarms() {
	if a.bell == nil || a.alarmKeep == "" {
		return
	}
	text, err := wholefile.Read(a.alarmKeep, mostText)
	var k keptAlarms
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		a.Log.Warn("what alarms were told before the restart cannot be read; some may be told again", "file", a.alarmKeep, "err", err)
	default:
		a.troubles.restore(&k, a.Now())
		a.bell.Restore(k.Bell, a.Now())
		a.alarmsKept = text
	}
}

// keepAlarms writes down what was told, where that has changed.
func (a *Appliance) keepAlarms() {
	if a.alarmKeep == "" {
		return
	}
	k := keptAlarms{Bell: a.bell.State()}
	a.troubles.kept(&k)
	text, err := json.Marshal(k)
	if err == nil && bytes.Equal(text, a.alarmsKept) {
		return
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(a.alarmKeep), 0o700)
	}
	if err == nil {
		err = wholefile.Replace(a.alarmKeep, text, wholefile.Mode(0o644))
	}
	if err != nil {
		if !a.alarmsUnkept {
			a.Log.Warn("what alarms were told cannot be kept; after a restart some may be told again", "file", a.alarmKeep, "err", err)
		}
		a.alarmsUnkept = true
		return
	}
	a.alarmsKept, a.alarmsUnkept = text, false
}
