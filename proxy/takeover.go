package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"gatehouse/internal/clienthello"
	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/proxy/trust"
)

// takeOver puts the gate's own TLS server in the origin's place and serves the
// requests inside as on the proxy port: each is judged, and counted, on its own,
// and may name no other host.
func (t *tunnel) takeOver(hello clienthello.Hello, early []byte) {
	c := t.e.client
	if why := unfit(hello); why != "" {
		t.refuseTLS(policy.NotTLS, flow.ClientHandshake, why)
		return
	}
	c.in.drop() // the outer connection is read no more
	near := &disguised{Conn: c.conn, early: early, certificate: t.shown}
	secure := tls.Server(near, t.inspection.config)
	c.conn.SetDeadline(time.Now().Add(t.e.server.config.Opening))
	if err := secure.Handshake(); err != nil {
		t.notTakenOver(err, near)
		return
	}
	near.secured, near.last = true, nil
	c.conn.SetDeadline(time.Time{})
	began, in := time.Now(), &wire{}
	in.attach(secure)
	inside := t.serveInside(in)
	// What crypto/tls has once refused to read it refuses for ever: so it tells
	// now how the connection ended.
	_, err := secure.Read(make([]byte, 1))
	t.ended(err, inside.exchange.passage == nil && time.Since(began) < soon)
}

// wanted reports whether the rules by which a request inside is judged want the
// tunnel looked into. Where they no longer do, the request is the tunnel's last:
// the client comes again and is left alone.
func (t *tunnel) wanted(e *exchange) bool {
	if e.policy == t.looked {
		return true
	}
	v, _ := e.policy.Connect(policy.Connect{At: e.now, Surface: policy.CONNECT, Client: e.client.addr, Dest: t.dest})
	if v.Effect != policy.Inspect {
		return false
	}
	t.looked = e.policy
	return true
}

// soon is how long after the handshake a client that leaves without a request may
// have left because of the certificate.
const soon = 10 * time.Second

// unfit says why the gate and a client have no language in common; empty where
// they may have one.
func unfit(hello clienthello.Hello) string {
	switch {
	case len(hello.Versions) > 0 && slices.Max(hello.Versions) < tls.VersionTLS12:
		return "it speaks no TLS newer than 1.1, and the gateway none older than 1.2"
	case len(hello.Protocols) > 0 && !slices.Contains(hello.Protocols, alpnHTTP1):
		few := hello.Protocols[:min(len(hello.Protocols), 5)]
		return "it speaks " + trust.Plain(strings.Join(few, ", ")) + ", and the gateway looks inside HTTP/1.1 alone"
	}
	return ""
}

// notTakenOver says why the client's handshake failed.
func (t *tunnel) notTakenOver(err error, near *disguised) {
	alert, said := trust.Alert(err)
	if !said {
		alert, said = near.alert()
	}
	switch {
	case said && slices.Contains(distrust, alert):
		t.distrusted(flow.ClientDistrusts, alert)
	case said:
		t.e.end = "client-closed"
		t.tell(flow.ClientHandshake, "it broke off the handshake: "+trust.Plain(alert))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		t.distrusted(flow.ClientLeft, "it hung up on seeing it")
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.refuseTLS(policy.NotTLS, flow.ClientHandshake, "it did not complete the handshake in time")
	default:
		t.refuseTLS(policy.NotTLS, flow.ClientHandshake, "the handshake failed: "+trust.Plain(err.Error()))
	}
}

// ended says how the connection inside ended, as TLS has it. fruitless says that
// no request came, and that it did not take long.
func (t *tunnel) ended(err error, fruitless bool) {
	t.e.end = "client-closed"
	var record tls.RecordHeaderError
	var op *net.OpError
	alert, said := trust.Alert(err)
	switch {
	case said && slices.Contains(distrust, alert): // since TLS 1.3 it may come late
		t.distrusted(flow.ClientDistrusts, alert)
	case errors.As(err, &record), errors.As(err, &op) && op.Op == "local error":
		t.refuseTLS(policy.BadRequest, flow.ClientGarbage, "what it sent after the handshake was no TLS")
	case fruitless && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		t.distrusted(flow.ClientLeft, "it hung up on seeing it")
	}
}

// distrust are the alerts by which a client says that it does not take a
// certificate (RFC 8446, section 6.2), as crypto/tls spells them.
var distrust = func() (spelled []string) {
	const badCertificate, unsupported, revoked, expired, unknown, unknownCA = 42, 43, 44, 45, 46, 48
	for _, alert := range []tls.AlertError{badCertificate, unsupported, revoked, expired, unknown, unknownCA} {
		spelled = append(spelled, alert.Error())
	}
	return spelled
}()

// distrusted says that the client does not take the gate's certificate.
func (t *tunnel) distrusted(fault flow.Fault, how string) {
	t.e.end = "client-closed"
	t.e.fault(fault, fmt.Sprintf("The program on %s does not accept the gateway's certificate for %s (%s).", t.e.client.addr, t.dest.Host, how),
		`install the inspection CA where it runs, see gatehouse ca export; if it trusts one certificate alone, inspect = "never" in the rule for the host`)
}

// tell says why the client's TLS cannot be looked into.
func (t *tunnel) tell(fault flow.Fault, why string) {
	t.e.fault(fault, fmt.Sprintf("The gateway cannot look inside the TLS of the program on %s for %s: %s.", t.e.client.addr, t.dest.Host, why),
		`update the program; or inspect = "never" in the rule for the host`)
}

// refuseTLS ends a tunnel whose client does not speak what can be looked into.
func (t *tunnel) refuseTLS(reason policy.Reason, fault flow.Fault, why string) {
	e := t.e
	v := e.verdict
	v.Effect, v.Reason, v.Would = policy.Deny, reason, false
	e.settle(v, &policy.Permit{})
	e.end = "refused"
	t.tell(fault, why)
	e.client.reset()
}
