package keeper

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
)

// farEnd is the other process: clients, so many at once, each of which sends
// octets (or one byte, and waits for it to come back) and closes, and an origin
// that takes them.
func farEnd(relay, atOnce string) error {
	tunnels, err := strconv.Atoi(atOnce)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	binary.Write(os.Stdout, binary.BigEndian, uint16(ln.Addr().(*net.TCPAddr).Port))
	var work [2]int64
	for binary.Read(os.Stdin, binary.BigEndian, &work) == nil {
		var clients sync.WaitGroup
		next := make(chan struct{})
		for range tunnels {
			clients.Go(func() {
				for range next {
					visit(relay, work[1])
				}
			})
		}
		for range work[0] {
			next <- struct{}{}
		}
		close(next)
		clients.Wait()
	}
	return nil
}

// serve answers the first byte, takes what follows and closes.
func serve(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 256<<10)
	if n, err := conn.Read(b); err != nil || n == 0 {
		return
	}
	conn.Write(b[:1])
	for {
		if _, err := conn.Read(b); err != nil {
			return
		}
	}
}

func visit(relay string, octets int64) {
	conn, err := net.Dial("tcp", relay)
	if err != nil {
		return
	}
	defer conn.Close()
	b := make([]byte, 256<<10)
	conn.Write(b[:1])
	io.ReadFull(conn, b[:1])
	for sent := int64(0); sent < octets; sent += int64(len(b)) {
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
	conn.(*net.TCPConn).CloseWrite()
	conn.Read(b)
}
