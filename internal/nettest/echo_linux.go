package nettest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
)

// Echo starts servers in the namespace that send back what they get. They listen
// at all its addresses, and end with the test. The one at port 80 speaks HTTP: it
// answers each request with its first line.
func (n *Namespace) Echo(ports ...string) {
	n.t.Helper()
	for _, port := range ports {
		play := func(c net.Conn) { defer c.Close(); io.Copy(c, c) }
		if port == "80" {
			play = answerFirstLines
		}
		serveOn(n.t, n.Listen("[::]:"+port), play)
	}
}

func answerFirstLines(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		head, err := readHead(in)
		if err != nil {
			return
		}
		line, _, _ := strings.Cut(head, "\r\n")
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
	}
}

// EchoUDP does the same for datagrams that come to one address.
func (n *Namespace) EchoUDP(address string) {
	n.t.Helper()
	var pc net.PacketConn
	var err error
	n.In(func() { pc, err = net.ListenPacket("udp", address) })
	if err != nil {
		n.t.Fatalf("listen: %v", err)
	}
	done := make(chan struct{})
	n.t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			size, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:size], from)
		}
	}()
}
