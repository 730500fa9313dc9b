//go:build !linux

package flow

func renameNew(from, to string) error { return renameFree(from, to) }
