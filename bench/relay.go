package main

import (
	"fmt"
	"io"
	"net"
)

// relayMain is the bare relay: whatever connects to the first two addresses is
// joined to the origin or the tcp service, and nobody looks at a byte.
func relayMain(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("relay: want HTTP TUNNEL ORIGIN SERVICE, have %q", args)
	}
	var d doors
	for i := range 2 {
		behind := args[2+i]
		if _, err := d.open(args[i], func(c *net.TCPConn) { relay(c, behind) }); err != nil {
			return err
		}
	}
	select {} // until it is told to end
}

func relay(in *net.TCPConn, address string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	join(in, c.(*net.TCPConn))
}

// join copies both ways, hands on each end, and closes both.
func join(in, out *net.TCPConn) {
	defer in.Close()
	defer out.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(in, out)
		in.CloseWrite()
	}()
	io.Copy(out, in)
	out.CloseWrite()
	<-back
}
