package dnsallow

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// familyGrace is how long the slower family is waited for once the other has
// led somewhere. Some servers never answer AAAA; RFC 8305, section 3, would
// wait 50 ms.
const familyGrace = 300 * time.Millisecond

// Resolve finds out where a permit may lead: one narrowed permit for each
// judged address, in the order in which to dial them (RFC 8305, section 4:
// families in turn, IPv6 first).
//
// Where the verdict denies there are no permits and no error. The error tells
// of names that do not exist or have no address and of upstream trouble (an
// *Error), or of the end of ctx. An address literal is judged without any
// look-up. No upstream is asked without a valid permit.
func (r *Resolver) Resolve(ctx context.Context, permit policy.Permit) ([]policy.Permit, policy.Verdict, error) {
	host := permit.Dest().Host
	switch {
	case !permit.Valid() || host.IsZero():
		return nil, policy.Verdict{}, nil
	case host.IsIP():
		v, narrowed := permit.Policy().Answer(policy.Answer{At: r.now(), Permit: permit, Addr: host.Addr()})
		if !v.Allowed() {
			return nil, v, nil
		}
		return []policy.Permit{narrowed}, v, nil
	}
	six, four, ok := r.known(permit)
	if !ok {
		six, four = r.families(ctx, permit)
	}
	return combine(six, four)
}

// family is the outcome of resolving one family.
type family struct {
	resolution
	qtype uint16
	err   error
	fault any // a panic, to be raised again in the asker's goroutine
}

// known judges what is at hand of both families, one after the other: where
// nobody has to be waited for nothing need run besides, and every request of the
// proxy asks. ok is false where something is missing.
func (r *Resolver) known(permit policy.Permit) (six, four family, ok bool) {
	missing := false
	look := func(q question) (*facts, error) {
		f := r.home(q)
		if f == nil {
			f = r.kept(q)
		}
		if f == nil {
			missing = true
			return nil, errNotKept
		}
		return f, f.failure
	}
	if four.resolution, four.err = r.follow(permit, dns.TypeA, nil, look); missing {
		return family{}, family{}, false
	}
	f, err := look(question{permit.Dest().Host.Name(), dns.TypeAAAA})
	if !missing && (len(four.leads) == 0 || f.leads(err)) { // else it has nothing to be judged: four says it all
		six.resolution, six.err = r.follow(permit, dns.TypeAAAA, nil, look)
	}
	if missing {
		return family{}, family{}, false
	}
	r.cache.hits.Add(2)
	return six, four, true
}

// leads reports whether facts that came with err may lead to an address.
func (f *facts) leads(err error) bool { return err == nil && (f.open || len(f.addresses) > 0) }

var errNotKept = errors.New("nothing is kept of it")

// families resolves both at once. When it returns, nothing of it runs on.
func (r *Resolver) families(ctx context.Context, permit policy.Permit) (six, four family) {
	ctx, cancel := context.WithCancel(ctx)
	outcomes := make(chan family, 2)
	var askers sync.WaitGroup
	defer askers.Wait()
	defer cancel()
	for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		askers.Go(func() { outcomes <- r.family(ctx, permit, qtype) })
	}
	first := <-outcomes
	if len(first.leads) > 0 {
		grace := time.AfterFunc(familyGrace, cancel)
		defer grace.Stop()
	}
	second := <-outcomes
	for _, f := range []family{first, second} {
		if f.fault != nil {
			panic(f.fault)
		}
	}
	if first.qtype == dns.TypeAAAA {
		return first, second
	}
	return second, first
}

func (r *Resolver) family(ctx context.Context, permit policy.Permit, qtype uint16) (f family) {
	defer func() { f.qtype, f.fault = qtype, recover() }()
	f.resolution, f.err = r.resolve(ctx, permit, qtype)
	return f
}

// combine makes one answer of two: what leads somewhere, else why the policy
// says no, else what went wrong.
func combine(six, four family) ([]policy.Permit, policy.Verdict, error) {
	six, four = preferClean(six, four)
	if permits := interleave(six.leads, four.leads); len(permits) > 0 {
		v := four.verdict
		if len(six.leads) > 0 {
			v = six.verdict
		}
		return permits, v, nil
	}
	switch {
	case six.err != nil && four.err != nil:
		return nil, policy.Verdict{}, worse(six.err, four.err)
	case four.err != nil, six.err == nil && six.verdict.Reason == policy.DeniedByRule:
		return nil, six.verdict, nil
	}
	return nil, four.verdict, nil
}

// preferClean drops the family that the rules would refuse (monitor mode) where
// the other one leads somewhere without such a mark.
func preferClean(six, four family) (family, family) {
	clean := func(f family) bool { return len(f.leads) > 0 && !f.verdict.Would }
	switch {
	case clean(four) && six.verdict.Would:
		six.leads = nil
	case clean(six) && four.verdict.Would:
		four.leads = nil
	}
	return six, four
}

// worse picks the error that says more: trouble before a plain "no", for after
// trouble the name may well have an address.
func worse(a, b error) error {
	var e *Error
	if errors.As(a, &e) && e.negative() {
		return b
	}
	return a
}

func interleave(six, four []lead) []policy.Permit {
	permits := make([]policy.Permit, 0, len(six)+len(four))
	for i := range max(len(six), len(four)) {
		if i < len(six) {
			permits = append(permits, six[i].permit)
		}
		if i < len(four) {
			permits = append(permits, four[i].permit)
		}
	}
	return permits
}
