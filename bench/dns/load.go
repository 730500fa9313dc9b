package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// scenario is a stream of questions.
type scenario struct {
	name string
	ask  func(client, n int) string // the name a client asks n-th
	want byte                       // the response code, or 0xff for any
}

const (
	plainName = "www.permitted.example"
	busName   = "emergeen.permitted.example" // behind two aliases, like a Service Bus namespace
	refused   = "www.refused.example"
	noError   = 0
	anyCode   = 0xff
)

var scenarios = []scenario{
	{"cached name", func(int, int) string { return plainName }, noError},
	{"cached Service Bus chain", func(int, int) string { return busName }, noError},
	{"refused name", func(int, int) string { return refused }, anyCode},
	{"refused, each name new", func(c, n int) string { return fmt.Sprintf("h%d-%d.refused.example", c, n) }, anyCode},
	{"uncached", func(c, n int) string { return uncached(c, n) }, noError},
}

// The names of the scenario "uncached" are permitted one by one: below a
// wildcard they would be a tunnel.
const (
	clients        = 64
	uncachedNames  = 1500 // of each client
	uncachedSuffix = ".uncached.example"
)

func uncached(client, n int) string {
	return fmt.Sprintf("u%d-%d%s", client, n%uncachedNames, uncachedSuffix)
}

// load asks from many addresses of loopback at once, each one question at a
// time, until the time is over. It gives back how many were answered and lost.
func load(server netip.AddrPort, s scenario, length time.Duration) (answered, lost int, err error) {
	var total, missing atomic.Int64
	var all sync.WaitGroup
	errs := make(chan error, clients)
	end := time.Now().Add(length)
	for c := range clients {
		all.Go(func() {
			n, l, err := client(server, s, c, end)
			total.Add(int64(n))
			missing.Add(int64(l))
			if err != nil {
				errs <- err
			}
		})
	}
	all.Wait()
	select {
	case err = <-errs:
	default:
	}
	return int(total.Load()), int(missing.Load()), err
}

func client(server netip.AddrPort, s scenario, c int, end time.Time) (answered, lost int, err error) {
	own := &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(c+1))}
	conn, err := net.DialUDP("udp4", own, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	buf := make([]byte, 1500)
	for n := 0; time.Now().Before(end); n++ {
		if s.name == "uncached" && n == uncachedNames {
			return answered, lost, nil // all have been asked
		}
		q := question(uint16(n), s.ask(c, n))
		if _, err := conn.Write(q); err != nil {
			return answered, lost, err
		}
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		size, err := conn.Read(buf)
		switch {
		case err != nil:
			lost++
		case size < 12 || buf[0] != q[0] || buf[1] != q[1]:
			lost++
		case s.want != anyCode && (buf[3]&0xf != s.want || binary.BigEndian.Uint16(buf[6:]) == 0):
			return answered, lost, fmt.Errorf("%s: response code %d, %d answers", s.ask(c, n), buf[3]&0xf, binary.BigEndian.Uint16(buf[6:]))
		default:
			answered++
		}
	}
	return answered, lost, nil
}

// question is one for an IPv4 address, without EDNS.
func question(id uint16, name string) []byte {
	q := binary.BigEndian.AppendUint16(make([]byte, 0, 64), id)
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	q = appendName(q, name)
	return append(q, 0, 1, 0, 1)
}

func appendName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(name, ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}
