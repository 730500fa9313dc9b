package console

import (
	"net/http"
	"strings"
	"time"
)

// Name is a DNS name that clients asked for lately.
type Name struct {
	Name    string    `json:"name"`
	Asked   int       `json:"asked"` // how often, among the decisions that are kept
	Last    time.Time `json:"last"`
	Verdict string    `json:"verdict"` // the last
	Reason  string    `json:"reason"`
	Rule    string    `json:"rule"`
	ID      string    `json:"id"` // of the last decision
	// Chain are the aliases that the name led through.
	Chain     []string  `json:"chain"`
	Addresses []Located `json:"addresses"`
	// Cluster is the Service Bus cluster that the aliases name, Gateways the names
	// of its relay gateways that were asked for.
	Cluster  string   `json:"cluster"`
	Gateways []string `json:"gateways"`
	// Left is for how long the answer is kept (seconds); 0: it is not.
	Left int `json:"left"`
}

// Located is an address that a name led to, with what is known of it.
type Located struct {
	Address string   `json:"address"`
	Tags    []string `json:"tags"` // the Azure service tags that hold it
	// Pinned is for how long the firewall lets clients through to it (seconds);
	// 0: it does not.
	Pinned int `json:"pinned"`
}

func (c *Console) names(w http.ResponseWriter, r *http.Request) {
	part := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("name")))
	c.show(w, http.StatusOK, "names", "Names", struct {
		Part  string
		Names []Name
	}{part, c.house.Names(part, usualNames)})
}

// usualNames bounds how many names a page shows.
const usualNames = 300

func (c *Console) apiNames(w http.ResponseWriter, r *http.Request) {
	part := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("name")))
	tell(w, http.StatusOK, map[string]any{"names": append([]Name{}, c.house.Names(part, number(r.URL.Query().Get("n"), usualNames, mostDecisions))...)})
}
