//go:build linux

package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gatehouse/appliance/journal"
)

// rulesWatcher takes a changed rules file once it has settled.
func (a *Appliance) rulesWatcher() *watcher {
	path := a.Files.Rules
	return &watcher{
		path: path, log: a.Log, judged: a.rulebook.Judged,
		look: newLookout(path, func(path string) sight { return lookAtFile(path, mostText) }).look,
		act: func(seen sight) { // also where the file is gone or empty: the reload says what is wrong
			a.guarded("reload", func() {
				a.trial.alone(func() {
					if seen.gone == "" && seen.digest == a.rulebook.Judged() {
						return // a draft, which the console has loaded meanwhile
					}
					a.logOutcome("file changed", a.rulebook.Reload(outside, true))
				})
			})
		},
	}
}

// logOutcome says what a reload changed; what went wrong has been said.
func (a *Appliance) logOutcome(why string, o Outcome) {
	for _, c := range o.Changes {
		a.Log.Info("reload: "+c, "asked_by", why)
	}
}

// loadTags puts the service tags of the configuration in force at start. Where
// they cannot be read the copy built in stays, for without any tag no rule with
// a region would permit anything. It gives what is wrong in a sentence.
func (a *Appliance) loadTags() (trouble string) {
	f, err := a.tags.read()
	if err != nil {
		a.Log.Error("the copy of the Azure service tags that is built in is in force; it is old", "err", err)
		trouble = err.Error()
	} else {
		a.tags.swap(f)
	}
	a.sayTags()
	return trouble
}

func (a *Appliance) sayTags() {
	f := a.tags.file()
	a.tally.TagsLoaded(f.ChangeNumber, f.Date)
	a.Log.Info("azure service tags in force", "file", f.Name, "change_number", f.ChangeNumber, "date", f.Date.Format("2006-01-02"))
	a.sayTagsAge()
}

// sayTagsAge says in the log that the service tags are old: a warning after
// staleAfter, an error after outdatedAfter. Nothing else comes of it.
func (a *Appliance) sayTagsAge() {
	f := a.tags.file()
	age := a.Now().Sub(f.Date)
	if f.Date.IsZero() || age <= staleAfter {
		return
	}
	level := slog.LevelWarn
	if age > outdatedAfter {
		level = slog.LevelError
	}
	a.Log.Log(context.Background(), level, "the Azure service tags are old: addresses that Azure has taken into use since are refused; import a current file by gatehouse azure import",
		"file", f.Name, "days", int(age.Hours()/24))
}

// eachDay says again what gets worse with time.
func (a *Appliance) eachDay(ctx context.Context) {
	every(ctx, 24*time.Hour, func() {
		a.guarded("age of the service tags", a.sayTagsAge)
		a.guarded("end of the inspection CA", a.sayCAEnding)
	})
}

// tagsWatcher takes changed service tags once they have settled.
func (a *Appliance) tagsWatcher() *watcher {
	path := a.Config.Azure.Tags
	return &watcher{
		path: path, log: a.Log, judged: a.tags.Judged,
		look: newLookout(path, lookAtPath).look,
		act:  func(sight) { a.guarded("service tags", func() { a.tagsChanged(outside.by, false) }) },
	}
}

// tagsChanged puts changed tags in force together with a policy made from them,
// or neither: what an import would refuse changes nothing, unless it is forced.
func (a *Appliance) tagsChanged(by string, force bool) (refused string) {
	a.tags.turn.Lock()
	defer a.tags.turn.Unlock()
	if refused = a.changeTags(force); refused != "" {
		a.noted(by, journal.Import, false, refused)
		return refused
	}
	f := a.tags.file()
	a.noted(by, journal.Import, true, fmt.Sprintf("Azure service tags with change number %d are in force", f.ChangeNumber))
	return ""
}

func (a *Appliance) changeTags(force bool) (refused string) {
	f, err := a.tags.read()
	if err != nil {
		return a.tagsRefused("the changed Azure service tags cannot be read", err.Error())
	}
	against := objections(a.tags.file(), f, tagsOf(a.rulebook.Status().Loaded))
	if len(against) > 0 && !force {
		return a.tagsRefused("the changed Azure service tags are not taken; the tags in force stay. If they are meant: gatehouse azure import --force",
			fmt.Sprintf("%s: %s; the tags in force stay", f.Name, strings.Join(against, "; ")))
	}
	previous := a.tags.swap(f)
	if problems := a.rulebook.Renew(); problems != nil {
		a.tags.swap(previous)
		return a.tagsRefused("the changed Azure service tags do not fit the rules in force; the tags in force stay",
			fmt.Sprintf("%s does not fit the rules in force: %s; the tags in force stay", f.Name, strings.Join(brief(problems), "; ")))
	}
	a.rulebook.Tags("")
	a.sayTags()
	return ""
}

// tagsRefused says in the log and in the status why tags were not taken.
func (a *Appliance) tagsRefused(message, why string) string {
	a.Log.Error(message, "err", why)
	a.rulebook.Tags(why)
	return why
}
