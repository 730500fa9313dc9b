package appliance

import (
	"cmp"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/appliance/syslog"
	"gatehouse/rules"
)

// Config is gatehouse.toml: how the appliance runs. DefaultConfig gives every
// key its default; a file changes what it names.
type Config struct {
	Timezone   Zone            `toml:"timezone"`
	Listen     ListenConfig    `toml:"listen"`
	PAC        PACConfig       `toml:"pac"`
	Clients    ClientsConfig   `toml:"clients"`
	DNS        DNSConfig       `toml:"dns"`
	Addresses  AddressesConfig `toml:"addresses"`
	Upstreams  []UpstreamTable `toml:"upstream"`
	TLS        TLSConfig       `toml:"tls"`
	Inspection InspectConfig   `toml:"inspection"`
	Azure      AzureConfig     `toml:"azure"`
	Firewall   FirewallConfig  `toml:"firewall"`
	Log        LogConfig       `toml:"log"`
	Alarm      AlarmConfig     `toml:"alarm"`
	Limits     LimitsConfig    `toml:"limits"`
	State      StateConfig     `toml:"state"`
}

// ListenConfig says where the appliance listens.
type ListenConfig struct {
	Proxy       []Address `toml:"proxy"`        // explicit HTTP and CONNECT
	DNS         []Address `toml:"dns"`          // UDP and TCP
	DNSTLS      []Address `toml:"dns_tls"`      // DNS over TLS
	Admin       Address   `toml:"admin"`        // state, reload, metrics, health
	Metrics     []Address `toml:"metrics"`      // metrics and health, nothing else
	PAC         []Address `toml:"pac"`          // /proxy.pac and /wpad.dat, nothing else
	Gateway     []Address `toml:"gateway"`      // redirected TCP (transparent)
	GatewayFrom []Network `toml:"gateway_from"` // senders of the PROXY protocol
	AdminNames  []string  `toml:"admin_names"`  // further Host names of the admin listener
	WebConfig   string    `toml:"web_config"`   // TLS and login of the admin listener
}

// PACConfig is what the file of listen.pac says.
type PACConfig struct {
	// Otherwise is the way of what no rule names: "proxy" or "direct".
	Otherwise string `toml:"otherwise"`
}

// ClientsConfig names permitted clients besides those of rules.toml.
type ClientsConfig struct {
	Allow []Network `toml:"allow"`
}

// DNSConfig is how names are resolved.
type DNSConfig struct {
	CacheMiB    int            `toml:"cache_mib"`   // 0: no cache
	Upstreams   []DNSServer    `toml:"upstreams"`   // none: the system's
	Resolvers   []Network      `toml:"resolvers"`   // ask for others: answered to one is answered to all
	Certificate []string       `toml:"certificate"` // of listen.dns_tls, in PEM: with its key, or a file for each
	Hosts       []DNSHost      `toml:"host"`
	Forwards    []ForwardTable `toml:"forward"`
}

// DNSHost is a name that the appliance answers itself.
type DNSHost struct {
	Name      HostName    `toml:"name"`
	Addresses []IPAddress `toml:"addresses"`
}

// ForwardTable is a zone that other servers know.
type ForwardTable struct {
	Zone    HostName    `toml:"zone"`
	Servers []DNSServer `toml:"servers"`
}

// AddressesConfig lifts refusals of special address ranges.
type AddressesConfig struct {
	TreatAsPublic []Network `toml:"treat_as_public"`
}

// TLSConfig holds trusted roots for origins, besides the system's.
type TLSConfig struct {
	CAFile string `toml:"ca_file"` // certificates in PEM; empty: none
}

// InspectConfig says whether TLS is looked into, and where its CA is kept.
type InspectConfig struct {
	Enabled bool   `toml:"enabled"`
	Dir     string `toml:"dir"` // relative to state.dir
}

// fetchWeekly is the setting of azure.fetch that has the gate fetch the list.
const fetchWeekly = "weekly"

// AzureConfig says where the service tags come from.
type AzureConfig struct {
	Tags  string `toml:"tags"`  // a file or a folder of them; empty: built in, or fetched to state.dir
	Fetch string `toml:"fetch"` // "off"; "weekly" is not in this version
}

// FirewallConfig is how the machine's own firewall follows the rules.
type FirewallConfig struct {
	Manage bool        `toml:"manage"` // load the ruleset, and keep it as the rules have it
	LAN    []Interface `toml:"lan"`    // of the clients' networks; none: clients are known by their addresses
	WAN    []Interface `toml:"wan"`    // to the Internet
	Open   []Port      `toml:"open"`   // further TCP ports of this machine that stay reachable
	Peers  []Network   `toml:"peers"`  // other gates that share an address with this one by VRRP
}

// LogConfig is what is written down, and for how long.
type LogConfig struct {
	Level     Level  `toml:"level"`
	Decisions string `toml:"decisions"` // "stdout" or a path
	Format    string `toml:"format"`    // "json" or "squid"
	Days      int    `toml:"days"`      // 0: no bound
	MiB       int    `toml:"mib"`       // 0: no bound
	// Syslog is a server that gets every decision as well; the zero Server: none.
	Syslog            syslog.Server `toml:"syslog"`
	SyslogFacility    string        `toml:"syslog_facility"`
	SyslogCertificate string        `toml:"syslog_certificate"` // PEM with its key, which a server of tls:// is shown; empty: none
}

// LimitsConfig bounds what clients may use.
type LimitsConfig struct {
	Connections int      `toml:"connections"`
	PerClient   int      `toml:"per_client"`
	Dial        Duration `toml:"dial"`
	TunnelIdle  Duration `toml:"tunnel_idle"`
	HeaderBytes int      `toml:"header_bytes"`
	PublishRate int      `toml:"publish_rate"` // requests a second of one client of published doors
}

// StateConfig says where the appliance keeps its own files.
type StateConfig struct {
	Dir string `toml:"dir"`
}

// DefaultConfig is what holds where gatehouse.toml says nothing.
func DefaultConfig() Config {
	var c Config
	c.Listen.Proxy = []Address{address("127.0.0.1:3128")}
	c.Listen.DNS = []Address{address("127.0.0.1:5300")}
	c.Listen.Admin = address("127.0.0.1:9080")
	c.PAC.Otherwise = "proxy"
	c.DNS.CacheMiB = 16
	c.Inspection.Dir = "ca"
	c.Azure.Fetch = "off"
	c.Log = LogConfig{Decisions: "stdout", Format: "json", Days: 90, MiB: 1024, SyslogFacility: "local0"}
	c.Limits = LimitsConfig{
		Connections: 20000, PerClient: 4096, HeaderBytes: 65536, PublishRate: 100,
		Dial: Duration{8 * time.Second}, TunnelIdle: Duration{time.Hour},
	}
	c.Alarm = AlarmConfig{MailTLS: "starttls", Repeat: Duration{24 * time.Hour}}
	c.State.Dir = "/var/lib/gatehouse"
	return c
}

func address(s string) Address {
	var a Address
	if err := a.UnmarshalText([]byte(s)); err != nil {
		panic(err) // a constant of DefaultConfig is wrong
	}
	return a
}

// ParseConfig reads gatehouse.toml. The problems are everything that is wrong
// with it; one that is an error keeps the appliance from starting. Relative
// paths in it are taken from the folder that name is in. The web configuration
// it names is read, for an admin listener without login is such a problem.
func ParseConfig(name string, text []byte) (*Config, []rules.Problem) {
	c := DefaultConfig()
	at, problems := rules.Decode(name, text, &c)
	for _, path := range []*string{&c.Listen.WebConfig, &c.TLS.CAFile, &c.Azure.Tags, &c.State.Dir, &c.Alarm.MailPasswordFile, &c.Log.SyslogCertificate} {
		*path = beside(name, *path)
	}
	for i, path := range c.DNS.Certificate {
		c.DNS.Certificate[i] = beside(name, path)
	}
	if c.Azure.Tags == "" && c.Azure.Fetch == fetchWeekly {
		c.Azure.Tags = filepath.Join(c.State.Dir, "azure")
	}
	if c.Log.Decisions != "stdout" {
		c.Log.Decisions = beside(name, c.Log.Decisions)
	}
	check := configCheck{Config: &c, at: at}
	if !rules.HasErrors(problems) { // else values are missing, and would be missed twice
		check.run()
	}
	slices.SortStableFunc(check.problems, func(a, b rules.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &c, masked(append(problems, check.problems...))
}

// beside makes a path of a file absolute or relative to the file's own folder.
func beside(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
