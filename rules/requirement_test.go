package rules

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requirement is a row of testdata/requirements.csv.
type requirement struct {
	id, side, host string
	schemes, ports []string
	methods, types []string
	path, pack     string
	uploads        bool
}

func requirements(t *testing.T) map[string]requirement {
	f, err := os.Open("testdata/requirements.csv")
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.FieldsPerRecord = '#', -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	all := map[string]requirement{}
	for _, row := range rows[1:] {
		all[row[0]] = requirement{
			id: row[0], side: row[3], host: row[5], schemes: split(row[6]), ports: split(row[7]), methods: split(strings.TrimPrefix(row[9], "(not stated) ")),
			path: row[10], types: split(row[11]), pack: row[len(row)-2], uploads: strings.Contains(row[len(row)-1], "uploads"),
		}
	}
	require.Len(t, all, 48)
	return all
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ";")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// The addresses that a row may lead to, by what its pack's rule pins it to.
const (
	northEurope = "13.74.107.71"  // ServiceBus.NorthEurope
	watchdog    = "70.37.104.240" // ServiceBus.SouthCentralUS
	public      = "151.101.1.1"
)

// address is where a row's host leads in this test.
func (r requirement) address() string {
	switch {
	case strings.HasPrefix(r.host, "watchdog."):
		return watchdog
	case strings.HasSuffix(r.host, "servicebus.windows.net"):
		return northEurope
	}
	return public
}

// asks is who asks for what the row permits: its side, and a device for the way in.
func (r requirement) asks() string {
	if r.side == "client" || r.pack == "publish" {
		return device
	}
	return server
}

// hosts are the row's hosts, the gateways by example. The cluster names are
// invented in the form that Microsoft documents.
func (r requirement) hosts() []string {
	if strings.HasPrefix(r.host, "g<") {
		return []string{
			"g0-prod-db3-001-sb.servicebus.windows.net", "g127-prod-db3-az402-sb.servicebus.windows.net",
			"gv11-prod-db3-014-sb.servicebus.windows.net",
		}
	}
	return []string{r.host}
}

// questions are everything a row asks for.
func (r requirement) questions() []string {
	if all := elsewhere[r.id]; all != nil {
		return all
	}
	var all []string
	if r.pack == "publish" {
		for _, method := range r.methods {
			for _, path := range []string{"/", "/api/v1/pupils", "/api/photo.jpg <- application/octet-stream"} {
				all = append(all, fmt.Sprintf("PUBLISH emerge-server %s %s -> application/json", method, path))
			}
		}
		return slices.DeleteFunc(all, func(q string) bool { return strings.Contains(q, " GET ") && strings.Contains(q, "<-") })
	}
	for _, host := range r.hosts() {
		all = append(all, "DNS "+host+" = "+r.address())
		for _, port := range r.portList() {
			all = append(all, fmt.Sprintf("CONNECT %s:%s", host, port))
		}
		for _, scheme := range r.schemes {
			if scheme == "http" || scheme == "https" {
				all = append(all, r.exchanges(scheme, host)...)
			}
		}
	}
	return all
}

func (r requirement) portList() []string {
	var all []string
	for _, p := range r.ports {
		first, last, ranged := strings.Cut(p, "-")
		all = append(all, first)
		if ranged {
			all = append(all, last)
		}
	}
	return all
}

// exchanges are the requests of a row, each with every type it names.
func (r requirement) exchanges(scheme, host string) []string {
	types := r.types
	if len(types) == 0 {
		types = []string{"text/html"}
	}
	path := strings.NewReplacer("/*", "/some/page", "*", "/updates/Latest").Replace(r.path)
	var all []string
	for _, method := range r.methods {
		if method == "CONNECT" {
			continue
		}
		for _, mime := range types {
			upload := ""
			if method == "POST" && r.uploads {
				upload = " <- " + mime
			}
			all = append(all, fmt.Sprintf("%s %s://%s%s%s -> %s;charset=utf-8", method, scheme, host, path, upload, mime))
		}
	}
	return all
}
