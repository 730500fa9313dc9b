package flow

import (
	"time"

	"gatehouse/policy"
)

// prepared is what stands alike in many lines of JSON: the moment to its second,
// and all that is said of a verdict. The nil prepared writes each line from the
// beginning; any other is for one goroutine.
type prepared struct {
	second int64  // in Unix time
	moment []byte // how it is written, up to the fraction; empty: none was yet
	// verdicts are as they are written where the rules file in force is policySHA.
	verdicts  map[decided]string
	policySHA string
}

// decided is all that the members from "verdict" to "pack" are made from: a rule is
// never changed.
type decided struct {
	rule   *policy.Rule
	effect policy.Effect
	reason policy.Reason
	would  bool
}

// mostVerdicts bounds what is prepared: a rules file has some hundred rules, and a
// passage that one of them decides has few reasons.
const mostVerdicts = 1024

// fraction is how a moment ends, after its second.
const fraction = `000Z"`

// appendTime writes a moment as the function of that name does.
func (p *prepared) appendTime(dst []byte, t time.Time) []byte {
	if p == nil {
		return appendTime(dst, t)
	}
	if second := t.Unix(); second != p.second || len(p.moment) == 0 {
		p.second, p.moment = second, appendTime(p.moment[:0], t)
		p.moment = p.moment[:len(p.moment)-len(fraction)]
	}
	dst = append3(append(dst, p.moment...), t.Nanosecond()/1e6)
	return append(dst, fraction[3:]...)
}

// appendVerdict writes what the function of that name does.
func (p *prepared) appendVerdict(dst []byte, r *Record) []byte {
	if p == nil {
		return appendVerdict(dst, r)
	}
	if p.policySHA != r.PolicySHA || len(p.verdicts) >= mostVerdicts {
		p.policySHA, p.verdicts = r.PolicySHA, nil // of other rules, which need be held no longer
	}
	v := &r.Verdict
	key := decided{v.Rule, v.Effect, v.Reason, v.Would}
	text, ok := p.verdicts[key]
	if !ok {
		if p.verdicts == nil {
			p.verdicts = map[decided]string{}
		}
		text = string(appendVerdict(nil, r))
		p.verdicts[key] = text
	}
	return append(dst, text...)
}
