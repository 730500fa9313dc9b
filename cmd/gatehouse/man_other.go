//go:build !man

package main

import "github.com/spf13/cobra"

// extra are commands that only builds for packaging have.
func extra() []*cobra.Command { return nil }
