// Package alarm tells a person, by mail or by a POST to some service, that
// something is wrong with the gate, for schools that run no Prometheus.
//
// It is told each minute what is wrong and says what is new, what lasts and what
// is over, in as few messages as it can. It watches nothing itself, decides
// nothing, and nobody ever waits for it.
package alarm

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"
)

// Kind is what an alarm is about. The strings are labels of a metric.
type Kind string

// The kinds.
const (
	AgentRefused    Kind = "agent-refused"
	RulesNotLoaded  Kind = "rules-not-loaded"
	CertificateEnds Kind = "certificate-ends"
	DoorClosed      Kind = "door-closed"
	DNSSilent       Kind = "dns-silent"
	ParentsFail     Kind = "parents-fail"
	AzureOld        Kind = "azure-old"
	PackNotReady    Kind = "pack-not-ready"
	DiskFull        Kind = "disk-full"
	LogDropped      Kind = "log-dropped"
	Test            Kind = "test"
)

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{AgentRefused, RulesNotLoaded, CertificateEnds, DoorClosed, DNSSilent, ParentsFail, AzureOld, PackNotReady, DiskFull, LogDropped, Test}
}

// Condition is something that is wrong.
type Condition struct {
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"` // what of that kind: a rule, a pack; may be empty
	Says    string `json:"says"`    // a sentence
	Fix     string `json:"fix"`     // what to do, may be empty
}

// Phase is where an alarm is.
type Phase string

// The phases.
const (
	Begun Phase = "begun"
	Lasts Phase = "lasts"
	Over  Phase = "over"
)

// Event is one thing that is told.
type Event struct {
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject"`
	Phase   Phase     `json:"phase"`
	Since   time.Time `json:"since"`
	Says    string    `json:"says"`
	Fix     string    `json:"fix"`
}

// Message is what one mail or one POST holds.
type Message struct {
	Gate   string    `json:"gate"` // its host name
	At     time.Time `json:"at"`
	Events []Event   `json:"events"` // at least one
}

// Sender brings messages to somebody.
type Sender interface {
	Name() string // "mail", "webhook"
	Send(context.Context, Message) error
}

const (
	// settle is how long something must be well to be over.
	settle = 5 * time.Minute
	// pause is the least time between two messages of one sender: what comes up
	// in between goes together.
	pause = 10 * time.Minute
	// mostPending bounds what one sender owes; the oldest is dropped.
	mostPending = 100
	// sendTime bounds one attempt.
	sendTime = time.Minute
	// longest is the longest pause after failures.
	longest = time.Hour
)

// Config says who is told, and how often.
type Config struct {
	Gate    string
	Repeat  time.Duration // after which an alarm that lasts is told again; 0: never
	Senders []Sender
	Log     *slog.Logger
	// Count is told of each event that was sent ("sent"), of each that is still
	// owed after an attempt ("failed"), and of each that was given up ("dropped").
	Count func(kind Kind, result string)
}

// Bell keeps what is wrong and who knows of it. One goroutine may use it.
type Bell struct {
	Config
	active map[key]*known
	owed   []*owed
}

type key struct {
	kind    Kind
	subject string
}

// known is a condition that was told.
type known struct {
	Condition
	since, seen, told time.Time
}

// owed is what one sender has not yet brought.
type owed struct {
	Sender
	events   []Event
	next     time.Time // no message before
	failures int
}

// New makes a Bell. It starts nothing.
func New(c Config) *Bell {
	b := &Bell{Config: c, active: map[key]*known{}}
	for _, s := range c.Senders {
		b.owed = append(b.owed, &owed{Sender: s})
	}
	return b
}

// Ring takes everything that is wrong now, and sends what there is to say. It
// returns when every sender has tried, or has been given up for this time.
func (b *Bell) Ring(ctx context.Context, now time.Time, wrong []Condition) {
	events := b.news(now, wrong)
	for _, o := range b.owed {
		b.owe(o, events)
		if len(o.events) > 0 && !now.Before(o.next) {
			b.deliver(ctx, o, now)
		}
	}
}

// news compares what is wrong with what was told.
func (b *Bell) news(now time.Time, wrong []Condition) (events []Event) {
	for _, c := range wrong {
		k := key{c.Kind, c.Subject}
		a := b.active[k]
		if a == nil {
			a = &known{since: now, told: now}
			b.active[k] = a
			a.Condition = c
			events = append(events, a.event(Begun))
		}
		a.Condition, a.seen = c, now
		if b.Repeat > 0 && now.Sub(a.told) >= b.Repeat {
			a.told = now
			events = append(events, a.event(Lasts))
		}
	}
	for k, a := range b.active {
		if now.Sub(a.seen) >= settle {
			delete(b.active, k)
			events = append(events, a.event(Over))
		}
	}
	slices.SortFunc(events, func(x, y Event) int {
		return cmp.Or(cmp.Compare(x.Phase, y.Phase), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Subject, y.Subject))
	})
	return events
}

func (a *known) event(p Phase) Event {
	e := Event{Kind: a.Kind, Subject: a.Subject, Phase: p, Since: a.since, Says: a.Says, Fix: a.Fix}
	if p == Over {
		e.Fix = ""
	}
	return e
}

func (b *Bell) owe(o *owed, events []Event) {
	o.events = append(o.events, events...)
	if over := len(o.events) - mostPending; over > 0 {
		b.count(o.events[:over], "dropped")
		o.events = slices.Delete(o.events, 0, over)
	}
}

func (b *Bell) deliver(ctx context.Context, o *owed, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	err := o.Send(ctx, Message{Gate: b.Gate, At: now, Events: slices.Clone(o.events)})
	if err == nil {
		if o.failures > 0 {
			b.Log.Info("alarms are sent again", "by", o.Name())
		}
		b.count(o.events, "sent")
		o.events, o.failures, o.next = nil, 0, now.Add(pause)
		return
	}
	o.failures++
	o.next = now.Add(min(time.Minute<<min(o.failures-1, 10), longest))
	b.count(o.events, "failed")
	if o.failures == 1 {
		b.Log.Error("an alarm could not be sent; it is tried again", "by", o.Name(), "err", err)
	}
}

func (b *Bell) count(events []Event, result string) {
	if b.Count == nil {
		return
	}
	for _, e := range events {
		b.Count(e.Kind, result)
	}
}
