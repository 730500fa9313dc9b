package dnsallow

import (
	"strings"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// maxRecorded bounds what a Record keeps of a name from the wire, in octets.
const maxRecorded = 512

// record writes one question into the book. A sink that panics spoils neither
// the reply nor the next question.
func (s *Server) record(p *policy.Policy, in *inquiry, o outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("dns: a question could not be recorded", "id", in.id, "fault", fault)
		}
	}()
	r := &flow.Record{
		ID: in.id, Time: in.began, Surface: policy.DNS,
		Client: in.client, Group: p.Group(in.client),
		IP: o.addr, Verdict: o.verdict, PolicySHA: p.SHA256(),
		Duration: s.now().Sub(in.began), End: ending(o.verdict),
	}
	if len(in.msg.Question) > 0 {
		q := in.msg.Question[0]
		r.Query = queryType(q.Qtype)
		r.Host = strings.ToLower(strings.TrimSuffix(q.Name, "."))
		r.Host = r.Host[:min(len(r.Host), maxRecorded)]
	}
	for _, alias := range o.aliases {
		r.CNAME = append(r.CNAME, alias.Name())
	}
	s.sink.Record(r)
}

func ending(v policy.Verdict) string {
	switch {
	case !v.Allowed():
		return "refused"
	case v.Reason == policy.UpstreamUnresolved:
		return "error"
	}
	return "done"
}
