package metrics

import (
	"slices"
	"sync"

	"gatehouse/internal/flow"
)

// maxRules bounds the rule names that get a series of their own, for the life
// of the process, whatever is reloaded.
const maxRules = 1000

// ruleNames gives rule names their label value. The zero value is ready.
type ruleNames struct {
	mu   sync.RWMutex
	seen map[string]bool
}

// label is the name itself for the first names that come, then "other"; empty
// where no rule speaks of the passage.
func (n *ruleNames) label(name string) string {
	if name == "" {
		return ""
	}
	n.mu.RLock()
	known := n.seen[name]
	n.mu.RUnlock()
	if known {
		return name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.seen[name]:
	case len(n.seen) >= maxRules:
		return "other"
	case n.seen == nil:
		n.seen = map[string]bool{name: true}
	default:
		n.seen[name] = true
	}
	return name
}

// queryTypes are the DNS types with a series of their own.
var queryTypes = []string{
	"A", "AAAA", "ANY", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "NULL", "PTR", "SOA",
	"SRV", "SVCB", "TLSA", "TXT",
}

func queryType(name string) string {
	if _, ok := slices.BinarySearch(queryTypes, name); ok {
		return name
	}
	return "other"
}

// fault is a fault by its name; what is none of them is "other".
func fault(f flow.Fault) string {
	if slices.Contains(flow.Faults(), f) {
		return string(f)
	}
	return "other"
}
