package appliance

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/url"
	"strconv"

	"gatehouse/policy"
)

// AlarmConfig says who is told when something is wrong; nobody where neither
// Webhook nor MailTo is set.
type AlarmConfig struct {
	Webhook          WebhookURL `toml:"webhook"`
	MailTo           []string   `toml:"mail_to"`
	MailFrom         string     `toml:"mail_from"`
	MailServer       string     `toml:"mail_server"` // host:port
	MailTLS          string     `toml:"mail_tls"`    // "starttls", "tls" or "none"
	MailUser         string     `toml:"mail_user"`   // empty: no login
	MailPasswordFile string     `toml:"mail_password_file"`
	Repeat           Duration   `toml:"repeat"` // an alarm that lasts is told again
}

// wanted reports whether anybody is told.
func (c AlarmConfig) wanted() bool { return !c.Webhook.zero() || len(c.MailTo) > 0 }

// WebhookURL is where alarms are POSTed to. It prints without its path, which is
// often a secret.
type WebhookURL struct {
	url    string
	secure bool
	dest   policy.Dest
}

// UnmarshalText implements encoding.TextUnmarshaler. No error repeats the text.
func (w *WebhookURL) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*w = WebhookURL{}
		return nil
	}
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return errors.New(`webhook is no address to POST to: write it like "https://hooks.example.org/services/abc"`)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if w.dest, err = destOf(net.JoinHostPort(u.Hostname(), port)); err != nil {
		return errors.New("webhook names no host that can be reached")
	}
	w.url, w.secure = u.String(), u.Scheme == "https"
	return nil
}

func (w WebhookURL) zero() bool { return w.url == "" }

// String is the URL without its path.
func (w WebhookURL) String() string {
	switch {
	case w.zero():
		return ""
	case w.secure:
		return "https://" + w.dest.String() + "/***"
	}
	return "http://" + w.dest.String() + "/***"
}

// LogValue implements slog.LogValuer.
func (w WebhookURL) LogValue() slog.Value { return slog.StringValue(w.String()) }

// MarshalText implements encoding.TextMarshaler.
func (w WebhookURL) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// GoString implements fmt.GoStringer.
func (w WebhookURL) GoString() string { return w.String() }

// destOf is a host and a port by its number.
func destOf(address string) (policy.Dest, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return policy.Dest{}, err
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		return policy.Dest{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err == nil && number == 0 {
		err = errors.New("port 0 is none")
	}
	return policy.Dest{Host: host, Port: uint16(number)}, err
}

// alarms checks the [alarm] table.
func (c *configCheck) alarms() {
	a := c.Alarm
	c.oneOf("alarm.mail_tls", a.MailTLS, "starttls", "tls", "none")
	if len(a.MailTo) == 0 {
		if a.MailServer != "" {
			c.report("alarm.mail_server", codeSetting, "nobody is named to send mail to", `mail_to = ["it@school.example"]`, "")
		}
		return
	}
	for i, to := range a.MailTo {
		if _, err := mail.ParseAddress(to); err != nil {
			c.report(fmt.Sprintf("alarm.mail_to[%d]", i), codeSetting, fmt.Sprintf("%q is no mail address", to), `mail_to = ["it@school.example"]`, "")
		}
	}
	if _, err := mail.ParseAddress(a.MailFrom); err != nil {
		c.report("alarm.mail_from", codeSetting, "mail needs an address that it comes from", `mail_from = "gatehouse@school.example"`, "")
	}
	if _, err := destOf(a.MailServer); err != nil {
		c.report("alarm.mail_server", codeSetting, "mail_server names no host and port", `mail_server = "smtp.example.org:587"`, "mail goes to this server, which brings it on")
	}
	switch {
	case (a.MailUser == "") != (a.MailPasswordFile == ""):
		c.report("alarm.mail_user", codeSetting, "a login is mail_user together with mail_password_file", `mail_password_file = "mail.password"`, "the password stands in a file of its own, alone in its first line")
	case a.MailUser != "" && a.MailTLS == "none":
		c.report("alarm.mail_tls", codeSetting, "a password is not sent without TLS", `mail_tls = "starttls"`, "whoever listens on the way would read it")
	}
}
