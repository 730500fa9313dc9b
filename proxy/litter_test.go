//go:build !race

package proxy

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// What an exchange leaves for the collector is most of what our own part of it costs.
// Client and origin are of this process too; what they leave is in the bounds.
func TestExchangesLeaveLittleLitter(t *testing.T) {
	dial := func(gate string) (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", gate)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn, bufio.NewReader(conn)
	}
	t.Run("a GET: its record and the record's id; and one that is the origin's", func(t *testing.T) {
		port := benchOrigin(t, "\r\n\r\n", benchAnswer)
		conn, in := dial(benchGate(t, port, plainHTTP))
		request := benchRequest(www, port)
		require.LessOrEqual(t, testing.AllocsPerRun(300, func() { askOnce(t, conn, in, request) }), 4.0)
	})
	t.Run("a GET that is refused: those two, and why", func(t *testing.T) {
		conn, in := dial(benchGate(t, 80, plainHTTP))
		request := benchRequest("other.example", 80)
		require.LessOrEqual(t, testing.AllocsPerRun(300, func() { askOnce(t, conn, in, request) }), 4.0)
	})
	t.Run("a GET on a new connection: half of it is the client's and package net's", func(t *testing.T) {
		port := benchOrigin(t, "\r\n\r\n", benchAnswer)
		gate, request := benchGate(t, port, plainHTTP), benchRequest(www, port)
		in := bufio.NewReader(nil)
		require.LessOrEqual(t, testing.AllocsPerRun(300, func() {
			conn, err := net.Dial("tcp", gate)
			require.NoError(t, err)
			in.Reset(conn)
			askOnce(t, conn, in, request)
			conn.Close()
		}), 36.0)
	})
	t.Run("a tunnel: half of it is the client's and the origin's", func(t *testing.T) {
		port := benchOrigin(t, "x", "y")
		gate := benchGate(t, port, rawTCP)
		request := fmt.Appendf(nil, "CONNECT %[1]s:%[2]d HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n", www, port)
		in := bufio.NewReader(nil)
		require.LessOrEqual(t, testing.AllocsPerRun(300, func() {
			conn, err := net.Dial("tcp", gate)
			require.NoError(t, err)
			in.Reset(conn)
			knock(t, conn, in, request)
		}), 70.0)
	})
}
