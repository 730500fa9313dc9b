package appliance

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
)

// webConfig is the path of an exporter-toolkit web configuration; empty where
// there is none.
type webConfig string

// check says what is wrong with the file. Where guarded is true it must ask for
// TLS and for a login: a password, or a client certificate.
func (w webConfig) check(guarded bool) error {
	if err := web.Validate(string(w)); err != nil {
		return fmt.Errorf("the web configuration %s cannot be used: %w", string(w), err)
	}
	if !guarded {
		return nil
	}
	text, err := os.ReadFile(string(w))
	if err != nil {
		return fmt.Errorf("the web configuration cannot be read: %w", err)
	}
	var c web.Config
	if err := yaml.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("the web configuration %s cannot be read: %w", string(w), err)
	}
	switch {
	case !c.TLSConfig.IsEnabled():
		return errors.New("the web configuration asks for no TLS (tls_server_config), but the admin listener can be reached from other machines")
	case len(c.Users) == 0 && c.TLSConfig.ClientAuth != "RequireAndVerifyClientCert":
		return errors.New("the web configuration asks for no login (basic_auth_users), but the admin listener can be reached from other machines")
	}
	return nil
}

// logins reports whether whoever comes through has logged in, so that the name in
// a request is one that was checked.
func (w webConfig) logins() bool {
	text, err := os.ReadFile(string(w))
	var c web.Config
	return w != "" && err == nil && yaml.Unmarshal(text, &c) == nil && len(c.Users) > 0
}

// named takes the name out of requests where nobody has checked it.
func (w webConfig) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" && !w.logins() {
			r.Header.Del("Authorization")
		}
		next.ServeHTTP(rw, r)
	})
}

// guard asks again at every request: the toolkit takes a changed file at once,
// and one without login must close the door, not open it.
func (w webConfig) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.check(true); err != nil {
			http.Error(rw, err.Error()+"; repair the file, then try again", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
}
