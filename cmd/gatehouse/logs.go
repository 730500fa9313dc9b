package main

import (
	"path/filepath"

	"gatehouse/internal/flow"
)

// withPieces puts before each decision log the finished pieces of it, which the
// gate begins each day: who names the log means all of it. None is named twice.
func withPieces(logs []string) (all []string, err error) {
	seen := map[string]bool{}
	for _, log := range logs {
		var pieces []string
		if log != "-" {
			if pieces, err = flow.Pieces(log); err != nil {
				return nil, err
			}
		}
		for _, name := range append(pieces, log) {
			if name = filepath.Clean(name); !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all, nil
}
