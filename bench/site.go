package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// site is what stands behind the proxies: an origin for HTTP, a tcp service for
// tunnels, and the name server of the proxies that ask one.
type site struct {
	doors
	http, tunnel *net.TCPAddr
	https        *net.TCPAddr
	identity     keyPair // of the origin behind TLS
	dns          string  // address of the name server, UDP
}

// originAddress is not 127.0.0.1, so that no proxy finds its own address there.
const originAddress = "127.0.0.2"

// The names of the site.
const (
	originName = "origin.example.org"
	deniedName = "denied.example.org" // no list has it
)

func newSite() (*site, error) {
	s := &site{}
	var err error
	if s.http, err = s.open(originAddress+":0", serveHTTP); err != nil {
		return nil, fmt.Errorf("opening the origin: %w", err)
	}
	if s.tunnel, err = s.open(originAddress+":0", serveTunnel); err != nil {
		s.Close()
		return nil, fmt.Errorf("opening the tcp service: %w", err)
	}
	if s.identity, err = newKeyPair(originName, false); err == nil {
		s.https, err = s.open(originAddress+":0", serveHTTPS(&tls.Config{Certificates: []tls.Certificate{s.identity.Certificate}}))
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("opening the origin behind TLS: %w", err)
	}
	names, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("opening the name server: %w", err)
	}
	s.keep(names)
	s.dns = names.LocalAddr().String()
	s.group.Go(func() { serveNames(names) })
	return s, nil
}

// serveNames says that every name is the origin, for an hour, until the socket
// is closed.
func serveNames(socket net.PacketConn) {
	packet := make([]byte, 4096)
	for {
		n, from, err := socket.ReadFrom(packet)
		if err != nil {
			return
		}
		if reply, err := answerName(packet[:n]); err == nil {
			socket.WriteTo(reply, from)
		}
	}
}

// answerName answers A with the origin's address and any other type with no data.
func answerName(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: head.ID, Response: true, RecursionDesired: head.RecursionDesired, RecursionAvailable: true,
	})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if q.Type == dnsmessage.TypeA {
		if err := b.StartAnswers(); err != nil {
			return nil, err
		}
		record := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 3600}
		if err := b.AResource(record, dnsmessage.AResource{A: netip.MustParseAddr(originAddress).As4()}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
