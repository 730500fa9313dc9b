//go:build !linux

package appliance

import "syscall"

// keepAliveInherited: package net sets it on each connection.
const keepAliveInherited = false

func keepAlive(_, _ string, _ syscall.RawConn) error { return nil }
