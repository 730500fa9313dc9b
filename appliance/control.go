package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gatehouse/appliance/doctor"
)

// socketName is the unix socket in state.dir to which the CLI talks. Whoever
// can open it (its owner, and root) may reload the rules.
const socketName = "gatehouse.sock"

// errOtherGate says that a state.dir is in use.
var errOtherGate = errors.New("another gatehouse answers")

// openSocket makes the unix socket. One that a dead process left is replaced;
// one that answers belongs to somebody.
func openSocket(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%w at %s", errOtherGate, path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Control talks to a running appliance through the unix socket in its
// state.dir.
type Control struct {
	path string
	http http.Client
}

// ErrNotRunning says that no appliance answers.
var ErrNotRunning = errors.New("no running gatehouse answers")

// NewControl makes a Control for the appliance with that state folder. It opens
// nothing yet.
func NewControl(stateDir string) *Control {
	c := &Control{path: filepath.Join(stateDir, socketName)}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.path)
		},
	}
	return c
}

// Reload asks the appliance to load its rules file, and gives its answer in
// words. With force, a file that has lost most of its rules is taken too.
func (c *Control) Reload(ctx context.Context, force bool) (taken bool, words string, err error) {
	query := url.Values{"force": {strconv.FormatBool(force)}}
	status, body, err := c.ask(ctx, http.MethodPost, "/reload?"+query.Encode())
	return status == http.StatusOK, string(body), err
}

// TakeTags has the appliance take the service tags that azure.tags leads to,
// whatever there is to be said against them.
func (c *Control) TakeTags(ctx context.Context) error {
	status, body, err := c.ask(ctx, http.MethodPost, "/tags")
	if err == nil && status != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(body)))
	}
	return err
}

// UsedAddresses asks for the addresses that rules with an Azure tag have led to
// since the appliance was started.
func (c *Control) UsedAddresses(ctx context.Context) (list []UsedAddress, err error) {
	status, body, err := c.ask(ctx, http.MethodGet, "/addresses")
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return list, json.Unmarshal(body, &list)
}

// TryAlarms has the appliance send an alarm that is none to everybody who is told,
// and gives how it went in words.
func (c *Control) TryAlarms(ctx context.Context) (well bool, words string, err error) {
	status, body, err := c.ask(ctx, http.MethodPost, "/alarm")
	return status == http.StatusOK, string(body), err
}

// Decision asks for the account of one of the last decisions.
func (c *Control) Decision(ctx context.Context, id string) (Account, error) {
	var a Account
	status, body, err := c.ask(ctx, http.MethodGet, "/decisions/"+url.PathEscape(id))
	switch {
	case err != nil:
		return a, err
	case status != http.StatusOK:
		return a, errors.New(strings.TrimSpace(string(body)))
	}
	return a, json.Unmarshal(body, &a)
}

// Examination says what the doctor is to try, and Report what it found, which is a
// tree of Checks; the room behind is the appliance's own.
type (
	Examination = doctor.Options
	Report      = doctor.Report
	Check       = doctor.Check
)

// MostIdle bounds Examination.Idle.
const MostIdle = doctor.MostIdle

// Doctor has the appliance try what its rules permit, which takes as long as the
// slowest place takes to be given up.
func (c *Control) Doctor(ctx context.Context, o Examination) (report Report, err error) {
	body, err := c.examine(ctx, "/doctor", o)
	if err != nil {
		return report, err
	}
	return report, json.Unmarshal(body, &report)
}

// Ticket has the appliance do the same, and gives what a vendor is told of it.
func (c *Control) Ticket(ctx context.Context, o Examination) (text string, err error) {
	body, err := c.examine(ctx, "/ticket", o)
	return string(body), err
}

func (c *Control) examine(ctx context.Context, path string, o Examination) ([]byte, error) {
	query := url.Values{"pack": {o.Pack}, "active": {strconv.FormatBool(o.Active)}, "idle": {o.Idle.String()}}
	status, body, err := c.ask(ctx, http.MethodPost, path+"?"+query.Encode())
	if err == nil && status != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(body)))
	}
	return body, err
}

func (c *Control) ask(ctx context.Context, method, path string) (status int, body []byte, err error) {
	return c.send(ctx, method, path, nil)
}

func (c *Control) send(ctx context.Context, method, path string, text io.Reader) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gatehouse"+path, text)
	if err != nil {
		return 0, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return 0, nil, fmt.Errorf("%w at %s (%w); start it with gatehouse run, name its configuration by --config, and run this as the same user", ErrNotRunning, c.path, op.Err)
		}
		return 0, nil, fmt.Errorf("ask the running gatehouse: %w", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, body, err
}
