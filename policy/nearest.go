package policy

import (
	"fmt"
	"strings"
)

// nearest finds the allow that came closest to permitting a refused passage and
// the one change that would carry it past the step where it fell.
func (p *Policy) nearest(v Verdict, f *facts) *NearMiss {
	if v.Allowed() && !v.Would {
		return nil
	}
	if v.Reason == HostNotListed && f.surface == Publish {
		return nil
	}
	if v.Reason == HostNotListed {
		return p.nearestHost(f.dest.Host)
	}
	if v.Rule == nil || v.Rule.Deny || !v.Reason.rulesWouldRefuse() {
		return nil
	}
	step := reasonStep(v.Reason)
	return &NearMiss{Rule: v.Rule, Step: step, Change: change(v, f)}
}

func reasonStep(r Reason) Step {
	switch r {
	case ClientNotListed:
		return StepClient
	case PortNotListed:
		return StepPort
	case NotHTTP, NotTLS, SNIMissing, SNIMismatch:
		return StepProtocol
	case MethodNotListed:
		return StepMethod
	case PathNotListed:
		return StepPath
	case UploadNotListed:
		return StepUpload
	case UpgradeNotListed:
		return StepUpgrade
	case AliasNotAllowed:
		return StepAlias
	case AddressNotAllowed:
		return StepAddress
	case TypeNotListed, TypeMismatch:
		return StepType
	}
	return StepHost
}

// change words the edit that would permit the passage. Where no edit of the
// rule would (a server name that is not the tunnel's), it says what to do
// instead.
func change(v Verdict, f *facts) string {
	switch v.Reason {
	case ClientNotListed:
		return fmt.Sprintf("add %q to clients", f.client)
	case PortNotListed:
		return fmt.Sprintf("add %d to ports", f.dest.Port)
	case NotHTTP:
		return fmt.Sprintf("the port carries %s; ask for it with CONNECT, or set protocol = \"http\" if it is plain HTTP", v.Protocol)
	case NotTLS:
		return "set protocol = \"tcp\" if what this port carries is not TLS"
	case SNIMissing, SNIMismatch:
		return fmt.Sprintf("nothing in the rule: the client's TLS must name %s", f.dest.Host)
	case MethodNotListed:
		return fmt.Sprintf("add %q to methods", f.method)
	case PathNotListed:
		return pathChange(v.Rule, f)
	case UploadNotListed:
		return mediaChange("uploads", f.upload, "the request states no readable Content-Type")
	case UpgradeNotListed:
		if f.surface == Publish {
			return "nothing in the publish: it carries requests, and no other protocol"
		}
		return fmt.Sprintf("add %q to upgrades", f.upgrade)
	case AliasNotAllowed:
		return fmt.Sprintf("add %s to aliases", quoted(f.aliases))
	case AddressNotAllowed:
		if f.surface == Publish {
			return fmt.Sprintf("nothing in the publish: it never leads to %s; name another server in to", f.addr)
		}
		return fmt.Sprintf("add %q to addresses", f.addr)
	case TypeNotListed:
		return mediaChange("types", f.mediaType, "the answer states no readable Content-Type")
	case TypeMismatch:
		return fmt.Sprintf("nothing in the rule: the answer says %s but is a %s", f.mediaType, f.family)
	case Expired:
		return "set a later day in until"
	}
	return ""
}

func pathChange(r *Rule, f *facts) string {
	if r.Paths != nil {
		return fmt.Sprintf("add %q to paths", f.path)
	}
	return "add \"*\" = \"any\" to types, or an entry for this path"
}

func mediaChange(clause string, m MediaType, missing string) string {
	if m.IsZero() {
		return "nothing in the rule: " + missing
	}
	return fmt.Sprintf("add %q to %s", m, clause)
}

func quoted(hosts []Host) string {
	var names []string
	for _, h := range hosts {
		names = append(names, fmt.Sprintf("%q", h))
	}
	return strings.Join(names, ", ")
}

// nearestHost looks for a listed name that is at most two letters away: the
// commonest reason for an unlisted host is a slip of the pen. It reads the whole
// list, which a person who asks can wait for and a decision must not.
func (p *Policy) nearestHost(h Host) *NearMiss {
	if h.IsIP() || h.IsZero() {
		return nil
	}
	var best *NearMiss
	least := 3
	for i := range p.rules {
		r := &p.rules[i]
		if r.Deny {
			continue
		}
		for _, listed := range r.Hosts {
			exact, ok := listed.Exact()
			if !ok || exact.IsIP() {
				continue
			}
			if d := editDistance(h.name, exact.name, least); d < least {
				least = d
				best = &NearMiss{Rule: r.Rule, Step: StepHost,
					Change: fmt.Sprintf("ask for %s, which is listed, if that was meant", exact)}
			}
		}
	}
	return best
}

// editDistance is Levenshtein's distance, or limit where it is that or more. Only
// cells that can be less than limit are looked at: those near the diagonal.
func editDistance(a, b string, limit int) int {
	if diff := len(a) - len(b); diff >= limit || -diff >= limit || len(b) >= maxNameLength {
		return limit
	}
	var room [maxNameLength]int
	row := room[:len(b)+1]
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		low, high := max(1, i-limit+1), min(len(b), i+limit-1)
		diagonal, least := row[low-1], limit
		row[low-1] = limit
		if low == 1 {
			row[0], least = i, i
		}
		for j := low; j <= high; j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
			least = min(least, row[j])
		}
		if least >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}

// maxNameLength is more than a DNS name's octets (RFC 1035, section 2.3.4).
const maxNameLength = 256
