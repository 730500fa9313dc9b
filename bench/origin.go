package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"time"
)

// messageSize is the size of a chunk in the streaming scenarios and of the small
// body: smaller than any buffer that a proxy might want to fill first.
const messageSize = 64

// smallBody is what a small GET returns.
var smallBody = bytes.Repeat([]byte("x"), messageSize)

// epoch is when the bench began. Chunks carry the time since then; sender and
// receiver are one process and share its monotonic clock.
var epoch = time.Now()

// stamp is a message that says when it was sent.
func stamp() []byte {
	return fmt.Appendf(nil, "%-*d", messageSize, time.Since(epoch))
}

// delayOf is how long ago a message was sent.
func delayOf(message []byte) (time.Duration, error) {
	at, err := strconv.ParseInt(strings.TrimRight(string(message), " "), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a chunk arrived changed: %w", err)
	}
	return time.Since(epoch) - time.Duration(at), nil
}

// doors accepts connections for handlers that own them, and waits for all at its
// end.
type doors struct {
	group sync.WaitGroup
	mu    sync.Mutex
	close []io.Closer
	ended bool
}

// open serves one listener.
func (d *doors) open(address string, serve func(*net.TCPConn)) (*net.TCPAddr, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	d.keep(ln)
	d.group.Go(func() {
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of descriptors: others will end
				time.Sleep(time.Millisecond)
				continue
			}
			d.group.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	return ln.Addr().(*net.TCPAddr), nil
}

// keep closes c at the end, or now when it has come.
func (d *doors) keep(c io.Closer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		c.Close()
		return
	}
	d.close = append(d.close, c)
}

// Close ends the listeners and waits for their connections, which end when their
// clients do: close those first.
func (d *doors) Close() error {
	d.mu.Lock()
	d.ended = true
	for _, c := range d.close {
		c.Close()
	}
	d.mu.Unlock()
	d.group.Wait()
	return nil
}

// serveTunnel is the tcp service: the byte 'b' asks for bytes without end, any
// other comes back.
func serveTunnel(c *net.TCPConn) {
	var one [1]byte
	for {
		if _, err := c.Read(one[:]); err != nil {
			return
		}
		if one[0] == 'b' {
			block := make([]byte, 256<<10)
			for {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}
		if _, err := c.Write(one[:]); err != nil {
			return
		}
	}
}

// serveHTTP answers requests in either form of target, kept alive.
func serveHTTP(c *net.TCPConn) {
	in := bufio.NewReader(c)
	small := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(smallBody), smallBody)
	for {
		path, err := readRequestHead(in)
		if err != nil {
			return
		}
		switch {
		case path == "/small":
			_, err = c.Write(small)
		case strings.HasPrefix(path, "/drip/"):
			err = drip(c, path)
		case path == "/sink":
			err = sink(c, in)
		case path == "/echo":
			err = echo(c, in)
		default:
			_, err = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		}
		if err != nil {
			return
		}
	}
}

// readRequestHead returns the path asked for.
func readRequestHead(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	_, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	if rest, absolute := bytes.CutPrefix(target, []byte("http://")); absolute {
		target = rest[max(0, bytes.IndexByte(rest, '/')):]
	}
	path := string(target)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return path, nil
		}
	}
}

const chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"

var errDone = errors.New("the exchange was the last of its connection")

// drip answers /drip/COUNT/GAP: so many stamped chunks, so far apart.
func drip(c *net.TCPConn, path string) error {
	count, gap, err := parseDrip(path)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, chunkedHead); err != nil {
		return err
	}
	for range count {
		time.Sleep(gap)
		if err := writeChunk(c, stamp()); err != nil {
			return err
		}
	}
	_, err = io.WriteString(c, lastChunk)
	return err
}

func parseDrip(path string) (count int, gap time.Duration, err error) {
	parts := strings.Split(path, "/")
	if len(parts) != 4 {
		return 0, 0, fmt.Errorf("%s is not /drip/COUNT/GAP", path)
	}
	if count, err = strconv.Atoi(parts[2]); err != nil {
		return 0, 0, err
	}
	gap, err = time.ParseDuration(parts[3])
	return count, gap, err
}

// sink reads stamped chunks and answers with each one's delay in nanoseconds, a
// line each.
func sink(c *net.TCPConn, in *bufio.Reader) error {
	body := httputil.NewChunkedReader(in)
	message := make([]byte, messageSize)
	var delays bytes.Buffer
	for {
		_, err := io.ReadFull(body, message)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		delay, err := delayOf(message)
		if err != nil {
			return err
		}
		fmt.Fprintln(&delays, int64(delay))
	}
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", delays.Len(), &delays)
	return errDone
}

// echo answers before it has read, and returns each message at once: the full
// duplex that Service Bus clients need.
func echo(c *net.TCPConn, in *bufio.Reader) error {
	if _, err := io.WriteString(c, chunkedHead); err != nil {
		return err
	}
	body := httputil.NewChunkedReader(in)
	message := make([]byte, messageSize)
	for {
		if _, err := io.ReadFull(body, message); err == io.EOF {
			io.WriteString(c, lastChunk)
			return errDone
		} else if err != nil {
			return err
		}
		if err := writeChunk(c, message); err != nil {
			return err
		}
	}
}

const lastChunk = "0\r\n\r\n"

func writeChunk(w io.Writer, data []byte) error {
	_, err := w.Write(fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data))
	return err
}
