//go:build !unix

package ca

// adopt leaves the owner as it is: here files belong to whoever made them.
func adopt(string) error { return nil }
