package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// keyPair is a self-signed certificate with its key, good for a day: that of the
// origin, or of a proxy's inspection CA.
type keyPair struct {
	tls.Certificate
	certPEM, keyPEM []byte
}

func newKeyPair(name string, authority bool) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if !authority {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return keyPair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{
		tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}

// serveHTTPS is the origin behind TLS.
func serveHTTPS(config *tls.Config) func(*net.TCPConn) {
	small := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(smallBody), smallBody)
	return func(c *net.TCPConn) {
		secure := tls.Server(c, config)
		defer secure.Close()
		in := bufio.NewReader(secure)
		for {
			if _, err := readRequestHead(in); err != nil {
				return
			}
			if _, err := secure.Write(small); err != nil {
				return
			}
		}
	}
}

// trustFile is where a program that looks inside TLS leaves the certificate that
// its clients are to trust.
const trustFile = "inspection-ca.pem"

// trusted is how clients of a program that looks inside TLS speak TLS.
func trusted(dir string) (*tls.Config, error) {
	text, err := os.ReadFile(filepath.Join(dir, trustFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("the program's inspection CA holds no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: originName}, nil
}

// peering is a client that asks inside a tunnel that the proxy looks into.
type peering struct {
	ctx     context.Context
	route   route
	config  *tls.Config
	request []byte
	each    bool // in a tunnel of its own, with a handshake of its own
	until   time.Time
	conn    *tls.Conn
	in      *bufio.Reader
}

func (p *peering) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

func (p *peering) open() error {
	d := net.Dialer{Deadline: p.until}
	c, err := d.DialContext(p.ctx, "tcp", p.route.inspect)
	if err != nil {
		return err
	}
	if err = c.SetDeadline(p.until); err == nil {
		err = askTunnelTo(c, p.route.name, p.route.site.https.Port)
	}
	secure := tls.Client(c, p.config)
	if err == nil {
		err = secure.HandshakeContext(p.ctx)
	}
	if err != nil {
		c.Close()
		return err
	}
	p.conn, p.in = secure, bufio.NewReader(secure)
	return nil
}

func (p *peering) step() (int64, error) {
	if p.conn == nil {
		if err := p.open(); err != nil {
			return 0, err
		}
	}
	if _, err := p.conn.Write(p.request); err != nil {
		return 0, err
	}
	head, err := readResponseHead(p.in)
	if err == nil && head.status != 200 {
		err = fmt.Errorf("the answer was %d, not 200", head.status)
	}
	if err == nil {
		_, err = p.in.Discard(int(head.length))
	}
	if p.each || head.closes {
		p.close()
	}
	return 1, err
}

func measureInspected(ctx context.Context, b *bench, i *instance, row string, each bool) (values, error) {
	config, err := trusted(i.dir)
	if err != nil {
		return nil, err
	}
	authority := net.JoinHostPort(i.route.name, strconv.Itoa(b.site.https.Port))
	request := fmt.Appendf(nil, "GET /small HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", authority)
	clients := make(chan *peering, b.plan.Clients)
	for range b.plan.Clients {
		p := &peering{ctx: ctx, route: i.route, config: config, request: request, each: each, until: time.Now().Add(2 * startPatience)}
		defer p.close()
		if !each { // handshakes cost so much more that none may fall into the window
			if _, err := p.step(); err != nil {
				return nil, err
			}
		}
		clients <- p
	}
	cpu, ops, err := perOperation(ctx, b.plan, b.plan.Clients, i, func(time.Time) work { return <-clients })
	if err != nil {
		return nil, err
	}
	return values{row: microseconds(cpu, ops)}, nil
}
