package appliance

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"

	"gatehouse/internal/wholefile"
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
	c, err := w.read()
	switch {
	case err != nil:
		return err
	case !c.TLSConfig.IsEnabled():
		return errors.New("the web configuration asks for no TLS (tls_server_config), but the admin listener can be reached from other machines")
	case !asksLogin(c):
		return errors.New("the web configuration asks for no login (basic_auth_users), but the admin listener can be reached from other machines")
	}
	return nil
}

// asksLogin reports whether nobody comes through without a password or a client
// certificate.
func asksLogin(c web.Config) bool {
	return len(c.Users) > 0 || c.TLSConfig.IsEnabled() && c.TLSConfig.ClientAuth == requiredCertificate
}

// guarded reports whether whoever comes through has logged in, by either.
func (w webConfig) guarded() bool {
	c, err := w.read()
	return err == nil && asksLogin(c)
}

func (w webConfig) read() (c web.Config, err error) {
	text, err := wholefile.Read(string(w), mostText)
	if err == nil {
		err = yaml.Unmarshal(text, &c)
	}
	if err != nil {
		err = fmt.Errorf("the web configuration %s cannot be read: %w", string(w), err)
	}
	return c, err
}

// logins reports whether whoever comes through has logged in with a password, so that
// the name in a request is one that was checked.
func (w webConfig) logins() bool {
	c, err := w.read()
	return err == nil && len(c.Users) > 0
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
