package appliance

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"

	"gatehouse/policy"
)

// UpstreamTable is a parent proxy. Several are tried in the order of the file.
type UpstreamTable struct {
	Name string    `toml:"name"`
	URL  ParentURL `toml:"url"`
	// Connect says what the parent is asked for tunnels to: the "address" that
	// was judged here, or the "name".
	Connect string `toml:"connect"`
}

// ParentURL is where a parent proxy is, and the login that it wants. It prints
// without the password.
type ParentURL struct {
	Host           string // a name or an address
	Port           uint16
	user, password string
}

// UnmarshalText implements encoding.TextUnmarshaler. No error repeats the text:
// there may be a password in it.
func (p *ParentURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	switch {
	case err != nil:
		return errors.New(`the url of a parent proxy cannot be read: write it like "http://parent.example:8080", and %40 for an @ in a password`)
	case u.Scheme != "http":
		return errors.New(`a parent proxy is spoken to by http alone: write it like "http://parent.example:8080"`)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return errors.New(`the url of a parent proxy ends with its port: write it like "http://parent.example:8080"`)
	}
	host, err := policy.ParseHost(u.Hostname())
	if err != nil {
		return fmt.Errorf("the url of a parent proxy names no host: %w", err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return errors.New(`the url of a parent proxy names no port: write it like "http://parent.example:8080"`)
	}
	p.Host, p.Port = host.String(), uint16(port)
	p.user = u.User.Username()
	p.password, _ = u.User.Password()
	return nil
}

// String is the URL with *** in place of the password; a user without one is a token,
// and no less secret.
func (p ParentURL) String() string {
	u := url.URL{Scheme: "http", Host: p.Host + ":" + strconv.Itoa(int(p.Port))}
	if p.user == "" && p.password == "" {
		return u.String()
	}
	if p.password == "" {
		return "http://" + mask + "@" + u.Host
	}
	return "http://" + url.User(p.user).String() + ":" + mask + "@" + u.Host
}

// LogValue implements slog.LogValuer.
func (p ParentURL) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText implements encoding.TextMarshaler.
func (p ParentURL) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// GoString implements fmt.GoStringer.
func (p ParentURL) GoString() string { return p.String() }

// parents checks the [[upstream]] tables.
func (c *configCheck) parents() {
	seen := map[string]bool{"direct": true}
	for i, u := range c.Upstreams {
		at := fmt.Sprintf("upstream[%d]", i)
		switch {
		case u.Name == "" || u.URL.Port == 0:
			c.report(at, codeSetting, "the table needs name and url", `name = "county"`+"\n"+`url = "http://parent.example:8080"`, "")
		case u.Name == "direct":
			c.report(at, codeSetting, `"direct" is what a rule says that goes through no parent`, `name = "county"`, "")
		case seen[u.Name]:
			c.report(at, codeSetting, fmt.Sprintf("the name %q is taken by another [[upstream]]", u.Name), fmt.Sprintf("name = %q", u.Name+"-2"), "rules choose a parent by its name")
		}
		seen[u.Name] = true
		if u.Connect != "" {
			c.oneOf(at+".connect", u.Connect, "address", "name")
		}
	}
}

// parentNames are what rules may say in parent, besides "direct".
func (c *Config) parentNames() (names []string) {
	for _, u := range c.Upstreams {
		names = append(names, u.Name)
	}
	return names
}
