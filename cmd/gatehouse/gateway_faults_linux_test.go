package main

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/internal/nettest"
)

// TestGatewayWithoutItsFirewall: where the firewall cannot be loaded, a sentence
// says why and what to do, and the explicit proxy serves all the same.
func TestGatewayWithoutItsFirewall(t *testing.T) {
	l := newLand(t, landBus)
	l.Origin.Echo("80")
	for _, test := range []struct {
		name string
		how  func(*land)
		says string
		fix  string
	}{
		{"a wrong interface", func(l *land) {
			l.write("gatehouse.toml", strings.Replace(l.config(), `"lan0"`, `"lan7"`, 1))
		}, `there is no interface \"lan7\" on this machine`, "it has lan0, wan0"},
		{"a missing capability", func(l *land) {
			l.wrap = []string{"setpriv", "--bounding-set=-net_admin"}
		}, "this process may not change the firewall", "AmbientCapabilities=CAP_NET_ADMIN"},
		{"a kernel without nftables", func(l *land) {
			l.before = withoutNetfilter
		}, "this kernel has no nftables", "take a kernel with nf_tables, or set firewall.manage = false"},
		{"a machine without the nft command", func(l *land) {
			l.wrap = []string{"unshare", "--mount", "sh", "-ec", `mount --bind /dev/null "$(command -v nft)"; exec "$@"`, "sh"}
		}, "the nft command is not there", "install the package nftables"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l.wrap, l.before = nil, nil
			l.write("gatehouse.toml", l.config())
			test.how(l)
			l.start()
			defer l.end(syscall.SIGTERM)
			require.True(t, comesTrue(func() bool { return strings.Contains(l.said.String(), test.says) }), "%s", l.said)
			require.Contains(t, l.said.String(), test.fix)
			require.Equal(t, 0, l.metric("gatehouse_firewall_loaded"))
			require.NotContains(t, l.nft("list tables"), "gatehouse")
			_, err := l.exchange(nettest.GateLAN, "3128", "GET http://bus.example.org/ HTTP/1.1\r\nHost: bus.example.org\r\n\r\n", "HTTP/1.1 200 OK\r\n")
			require.NoError(t, err, "the explicit proxy serves")
		})
	}
}

// withoutNetfilter has the kernel tell this thread, and the programs that it starts,
// what a kernel without nftables tells: there is no such socket.
func withoutNetfilter() error {
	const number, domain, protocol = 0, 16, 32 // in seccomp_data: the call, its first and its third argument
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(is uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: is, Jf: skip}
	}
	end := func(with uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with}
	}
	filter := []unix.SockFilter{
		load(number), unless(unix.SYS_SOCKET, 5),
		load(domain), unless(unix.AF_NETLINK, 3),
		load(protocol), unless(unix.NETLINK_NETFILTER, 1),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
		end(unix.SECCOMP_RET_ALLOW),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
