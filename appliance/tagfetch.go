//go:build linux

package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/servicetags"
	"gatehouse/internal/wholefile"
)

// downloadPage is Microsoft's page of the list for the public cloud; the list's
// own address on it is another one each week.
const downloadPage = "https://www.microsoft.com/en-us/download/details.aspx?id=56519"

// listOnPage finds the list's address: only on Microsoft's download host, which
// the built-in rule permits.
var listOnPage = whenAsked(`https://download\.microsoft\.com/[A-Za-z0-9/._-]{1,200}/ServiceTags_Public_[0-9]{8}\.json`)

const (
	mostPage = 4 << 20
	// fetchWithin bounds one attempt.
	fetchWithin = 10 * time.Minute
	// fetchEvery is how often a list is fetched: it is issued weekly. A failed
	// attempt is repeated after fetchAgain, twice as long each time, and at most
	// a day later.
	fetchEvery, fetchAgain, fetchAtMost = 7 * 24 * time.Hour, time.Hour, 24 * time.Hour
	// fetchFirst is how long the first attempt waits after the start.
	fetchFirst = time.Minute
)

// tagFetch gets the service tags by itself, once a week.
type tagFetch struct {
	page string
	http http.RoundTripper // through the gate's own rule, resolver and book
	keep string            // the file that remembers the last attempt
	log  *slog.Logger
	now  func() time.Time

	weigh func(after *servicetags.File, text []byte) (*TagImport, error)
	file  func() *servicetags.File // in force
	said  func(trouble string)
}

// fetchState is what outlives a restart.
type fetchState struct {
	Tried    time.Time `json:"tried"`    // the last attempt
	Failures int       `json:"failures"` // in a row
	Outcome  string    `json:"outcome"`  // of the last attempt, in words
}

// run fetches when it is time, until ctx is done.
func (f *tagFetch) run(ctx context.Context) {
	state := f.load()
	for {
		wait := time.NewTimer(f.due(state, rand.Float64()))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
			state = f.attempt(ctx, state)
		}
	}
}

// due is how long to wait for the next attempt. chance, in [0,1), spreads the
// attempts of many appliances over a tenth of the time.
func (f *tagFetch) due(s fetchState, chance float64) time.Duration {
	pause := fetchEvery
	if s.Failures > 0 {
		pause = fetchAtMost
		if s.Failures < 6 {
			pause = min(fetchAtMost, fetchAgain<<(s.Failures-1))
		}
	}
	if s.Tried.After(f.now()) { // the clock was wrong
		s.Tried = time.Time{}
	}
	pause += time.Duration(chance * float64(pause) / 10)
	return max(s.Tried.Add(pause).Sub(f.now()), fetchFirst+time.Duration(chance*float64(fetchFirst)))
}

// attempt fetches once, and remembers how it went.
func (f *tagFetch) attempt(ctx context.Context, s fetchState) fetchState {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	outcome, err := f.fetch(ctx)
	if err != nil && ctx.Err() == context.Canceled { // the gate stops
		return s
	}
	failed := s.Failures
	s.Tried, s.Failures, s.Outcome = f.now(), 0, outcome
	if err != nil {
		s.Failures, s.Outcome = failed+1, err.Error()
		f.log.Error("the Azure service tags could not be fetched; the tags in force stay", "err", err, "failures", s.Failures)
		f.said("fetching the Azure service tags: " + err.Error())
	} else {
		f.log.Info("the Azure service tags were fetched", "outcome", outcome)
		if failed > 0 {
			f.said("")
		}
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = wholefile.Replace(f.keep, text, wholefile.Mode(0o644))
	}
	if err != nil {
		f.log.Warn("when the Azure service tags were fetched could not be written down", "err", err)
	}
	return s
}

// fetch gets the list that the page leads to, weighs it as an import does, and
// puts it in its place, from where the gate takes it like any changed file.
func (f *tagFetch) fetch(ctx context.Context) (outcome string, err error) {
	page, err := f.get(ctx, f.page, mostPage)
	if err != nil {
		return "", err
	}
	address := listOnPage().Find(page)
	if address == nil {
		return "", fmt.Errorf("%s leads to no ServiceTags_Public_*.json; download it by hand and run gatehouse azure import", f.page)
	}
	text, err := f.get(ctx, string(address), servicetags.MaxBytes)
	if err != nil {
		return "", err
	}
	after, err := servicetags.Parse(bytes.NewReader(text), path.Base(string(address)))
	if err != nil {
		return "", err
	}
	if now := f.file(); after.ChangeNumber == now.ChangeNumber && !after.Date.After(now.Date) {
		return fmt.Sprintf("change number %d is in force already", after.ChangeNumber), nil
	}
	i, err := f.weigh(after, text)
	if err != nil {
		return "", err
	}
	if len(i.Objections) > 0 {
		return "", &refusedTags{after.Name, i.Objections}
	}
	to, err := i.Apply()
	if err != nil {
		return "", err
	}
	return "fetched to " + to, nil
}

// refusedTags says why a fetched list was not taken.
type refusedTags struct {
	name    string
	against []string
}

func (e *refusedTags) Error() string {
	return fmt.Sprintf("%s was fetched and is not taken: %s; if it is meant, download it and run gatehouse azure import --force", e.name, strings.Join(e.against, "; "))
}

// get fetches one address, of at most so many octets.
func (f *tagFetch) get(ctx context.Context, address string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "gatehouse")
	client := http.Client{Transport: f.http, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 5 || req.URL.Scheme != "https" {
			return errors.New("it leads on to a place where the list is not looked for")
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", address, resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("GET %s: %w", address, err)
	case int64(len(text)) > most:
		return nil, fmt.Errorf("GET %s: it is larger than %d MiB", address, most>>20)
	}
	return text, nil
}

// newTagFetch fetches into the place that azure.tags leads to.
func (a *Appliance) newTagFetch() (*tagFetch, error) {
	c := a.Config
	p, err := fetchPolicy(prefixesOf(c.Addresses.TreatAsPublic))
	if err != nil {
		return nil, err
	}
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: c.Limits.Dial.Duration}
	own := &ownPassages{policy: p, resolver: a.resolver, book: a.book, now: a.Now,
		dial: func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, network, to.String())
		}}
	return &tagFetch{
		page: downloadPage, http: own.transport(roots), keep: filepath.Join(c.State.Dir, "azure-fetch.json"),
		log: a.Log, now: a.Now, file: a.tags.file, said: a.rulebook.Tags,
		weigh: func(after *servicetags.File, text []byte) (*TagImport, error) {
			return c.weigh(a.Files, a.tags.file(), after, text)
		},
	}, nil
}

// fetchTags fetches the service tags each week until ctx is done, in a goroutine
// of all.
func (a *Appliance) fetchTags(ctx context.Context, all *sync.WaitGroup) {
	f, err := a.newTagFetch()
	if err == nil {
		err = makeFolder(a.Config.Azure.Tags)
	}
	if err != nil {
		a.Log.Error("the Azure service tags will not be fetched", "err", err)
		a.rulebook.Tags("fetching the Azure service tags: " + err.Error())
		return
	}
	all.Go(func() { a.guarded("fetching the service tags", func() { f.run(ctx) }) })
}

// makeFolder makes the folder of the tags where there is nothing of that name,
// unless it names a file.
func makeFolder(path string) error {
	if ext := filepath.Ext(path); ext == ".json" || ext == ".xml" {
		return nil
	}
	return os.MkdirAll(path, 0o755)
}

func (f *tagFetch) load() (s fetchState) {
	text, err := wholefile.Read(f.keep, mostText)
	if err != nil || json.Unmarshal(text, &s) != nil {
		return fetchState{}
	}
	return s
}
