//go:build linux

package appliance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"gatehouse/appliance/doctor"
	"gatehouse/appliance/syslog"
	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// feed brings every decision to a syslog server. The nil feed loses nothing.
type feed struct {
	*flow.Log
	sender *syslog.Sender
	dial   func(context.Context) (net.Conn, error)
}

// The longest messages: what every receiver of datagrams should take (RFC 5424,
// section 6.1), and every one of streams (RFC 5425, section 4.3.1).
const (
	mostDatagram = 2048
	mostFrame    = 8192
)

// newFeed makes the feed; nil: there is no server.
func (a *Appliance) newFeed() *feed {
	c := a.Config.Log
	if c.Syslog.IsZero() {
		return nil
	}
	dial := a.syslogDialer()
	sender := syslog.New(syslog.Config{Server: c.Syslog, Dial: dial, Log: a.Log, Now: a.Now})
	header := flow.SyslogHeader{
		Facility: slices.Index(syslog.Facilities(), c.SyslogFacility), Hostname: hostName(), Version: a.Build.Version, PID: os.Getpid(), Most: mostFrame,
	}
	if c.Syslog.Way == syslog.UDP || c.Syslog.Way == syslog.Unix {
		header.Most = mostDatagram
	}
	return &feed{sender: sender, dial: dial, Log: flow.NewLog(flow.LogConfig{
		Format: flow.Syslog(header), Out: sender, Logger: a.Log, Now: a.Now, Name: "syslog", Advice: "is the server up?",
	})}
}

// Run sends until ctx is done, and then what is still queued, once.
func (f *feed) Run(ctx context.Context) {
	defer f.sender.Close()
	defer context.AfterFunc(ctx, f.sender.Stop)()
	f.Log.Run(ctx)
}

// dropped is how many decisions were never sent.
func (f *feed) dropped() uint64 {
	if f == nil {
		return 0
	}
	return f.Dropped() + f.sender.Lost()
}

// syslogDialer opens connections to the server: on this machine by a socket, else
// as a passage of the gate's own.
func (a *Appliance) syslogDialer() func(context.Context) (net.Conn, error) {
	c := a.Config.Log
	if c.Syslog.Way == syslog.Unix {
		return func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unixgram", c.Syslog.Path)
		}
	}
	dest := c.Syslog.Dest
	protocol := policy.TCP
	if c.Syslog.Way == syslog.TLS {
		protocol = policy.TLS
	}
	// The book is made later than the feed, which is one of its sinks.
	own := sync.OnceValue(func() *ownPassages { return a.ownPassage("gatehouse/syslog", "log.syslog", dest, protocol) })
	network, address := "tcp", net.JoinHostPort(dest.Host.String(), strconv.Itoa(int(dest.Port)))
	if c.Syslog.Way == syslog.UDP {
		network = "udp"
	}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := own().connect(ctx, network, address)
		if err != nil || c.Syslog.Way != syslog.TLS {
			return conn, err
		}
		secure := tls.Client(conn, a.syslogTLS())
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

// syslogTLS is TLS as RFC 5425 has it: the server's certificate must be trusted and
// say its name, and ours is shown where there is one. Its file is read for each
// connection, so that a new one is taken without a restart.
func (a *Appliance) syslogTLS() *tls.Config {
	config := &tls.Config{ServerName: a.Config.Log.Syslog.Dest.Host.String(), RootCAs: a.roots(), MinVersion: tls.VersionTLS12, Time: a.Now}
	if path := a.Config.Log.SyslogCertificate; path != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return clientPair(path, a.Now())
		}
	}
	return config
}

// check has the doctor connect to the server.
func (f *feed) check(ctx context.Context) *doctor.Check {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	server := f.sender.Server
	conn, err := f.dial(ctx)
	if err != nil {
		return doctor.Bad("server", server.String()+": "+err.Error(), "start it, or change log.syslog")
	}
	defer conn.Close()
	switch {
	case server.Way == syslog.UDP:
		return doctor.Fine("server", "messages go to "+server.String()+"; by UDP nobody says whether they arrive")
	case f.sender.Trouble() != nil:
		return doctor.Bad("server", server.String()+" can be reached, and takes no messages: "+f.sender.Trouble().Error(), "look at the server's own log")
	}
	return doctor.Fine("server", server.String()+" answers")
}

// lossCheck tells of decisions that were not sent within the last hour.
func (f *feed) lossCheck(now time.Time) *doctor.Check {
	if f == nil {
		return doctor.Fine("messages", "")
	}
	if at := f.LastDropped(); now.Sub(at) < lingers {
		return doctor.Bad("messages", fmt.Sprintf("%d decisions were never sent, the last at %s", f.dropped(), at.UTC().Format(time.RFC3339)),
			"see to it that the server is up, and quick enough")
	}
	return doctor.Fine("messages", "none was lost within the hour")
}

// decisionsCheck tells of lines of the decision log that were lost within the last
// hour.
func (a *Appliance) decisionsCheck() *doctor.Check {
	const name = "decision log"
	where := a.Config.Log.Decisions
	if where == "stdout" {
		where = "standard output"
	}
	lost := fmt.Sprintf("%d lines since the start, the last at %s", a.decisions.Dropped(), a.decisions.LastDropped().UTC().Format(time.RFC3339))
	switch trouble := a.decisions.Trouble(); {
	case trouble != nil:
		return doctor.Bad(name, "it cannot be written: "+trouble.Error()+"; "+lost, "free disk space, or look at log.decisions and its folder")
	case a.Now().Sub(a.decisions.LastDropped()) < lingers:
		return doctor.Bad(name, "lines were lost, "+lost, "look at the disk, and at whoever reads the log")
	}
	if err := a.decisions.Stuck(); err != nil {
		return doctor.Suspect(name, "goes to "+where+", of which no new piece can be begun: "+err.Error(),
			"make its folder writable; until then lines go on into the present piece, as long as all stay within log.mib")
	}
	return doctor.Fine(name, "goes to "+where)
}
