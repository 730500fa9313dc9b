//go:build linux

package appliance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/appliance/console"
	"gatehouse/appliance/doctor"
	"gatehouse/appliance/journal"
	"gatehouse/internal/flow"
)

// controlHandler serves the unix socket.
func (a *Appliance) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	console.New(window{a}, a.Log).RegisterAPI(mux)
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		force, _ := strconv.ParseBool(r.FormValue("force"))
		tell(w, a.rulebook.Reload(cause{console.Asker(r), journal.Reload}, !force))
	})
	mux.HandleFunc("POST /tags", func(w http.ResponseWriter, r *http.Request) {
		if refused := a.tagsChanged(console.Asker(r), true); refused != "" {
			http.Error(w, refused, http.StatusUnprocessableEntity)
		}
	})
	mux.HandleFunc("GET /addresses", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a.used.list())
	})
	mux.HandleFunc("POST /doctor", a.serveDoctor)
	mux.HandleFunc("POST /ticket", a.serveTicket)
	mux.HandleFunc("POST /alarm", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(3 * time.Minute))
		words, well := a.tryAlarms(r.Context())
		plain(w)
		if !well {
			w.WriteHeader(http.StatusBadGateway)
		}
		io.WriteString(w, words)
	})
	mux.HandleFunc("GET /decisions/{id}", func(w http.ResponseWriter, r *http.Request) {
		found := a.find(r.Context(), strings.ToUpper(r.PathValue("id")))
		if found == nil {
			http.Error(w, fmt.Sprintf("decision %s is neither among the last %d nor in the decision log of this gate", r.PathValue("id"), keptDecisions), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(account(found, a.live.Policy()))
	})
	return mux
}

// searchTime bounds the search in a decision log of many pieces.
const searchTime = 30 * time.Second

// find looks for a decision among those in memory, then in the decision log, and
// then for one that is just being written down.
func (a *Appliance) find(ctx context.Context, id string) *flow.Record {
	if found := a.ring.Find(id); found != nil {
		return found
	}
	if found := a.findKept(ctx, id); found != nil {
		return found
	}
	return a.findRecent(ctx, id)
}

// findKept looks in the decision log: in its catalogue, and behind that line by line.
func (a *Appliance) findKept(ctx context.Context, id string) *flow.Record {
	if a.catalogue == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	found, whole, err := a.catalogue.Find(ctx, id)
	if found == nil && !whole && err == nil {
		found, err = flow.Find(ctx, a.Config.Log.Decisions, id)
	}
	if err != nil {
		a.Log.Warn("the decision log could not be searched", "id", id, "err", err)
	}
	return found
}

// findRecent looks in memory. A client is told its id a moment before the passage
// has ended and is written down, so an unknown one is looked for again for a
// while.
func (a *Appliance) findRecent(ctx context.Context, id string) *flow.Record {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if found := a.ring.Find(id); found != nil {
			return found
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// serveDoctor has the doctor try what the rules in force permit, and gives its
// report.
func (a *Appliance) serveDoctor(w http.ResponseWriter, r *http.Request) {
	report, err := a.Examine(r.Context(), examination(w, r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(report)
}

// serveTicket does the same, for the vendor.
func (a *Appliance) serveTicket(w http.ResponseWriter, r *http.Request) {
	text, err := a.Ticket(r.Context(), examination(w, r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	plain(w)
	io.WriteString(w, text)
}

// examination is what is asked for. It takes as long as the slowest of many hosts
// takes to be given up, so there is time for the answer.
func examination(w http.ResponseWriter, r *http.Request) doctor.Options {
	o := doctor.Options{Pack: r.FormValue("pack")}
	o.Active, _ = strconv.ParseBool(r.FormValue("active"))
	if idle, err := time.ParseDuration(r.FormValue("idle")); err == nil {
		o.Idle = min(max(idle, 0), doctor.MostIdle)
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longestExamination + o.Idle + time.Minute))
	return o
}
