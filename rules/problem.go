package rules

import (
	"cmp"
	"slices"
)

// Level says whether a file with the problem may be loaded.
type Level string

// The levels.
const (
	Error   Level = "error"   // the file is not loaded
	Warning Level = "warning" // the file may be loaded
)

// Problem is one thing that is wrong with a file, worded for whoever edits it.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0: the file as a whole
	Column  int    `json:"column"` // in characters from 1; 0: the line as a whole
	Level   Level  `json:"level"`
	Code    string `json:"code"`
	Message string `json:"message"`
	// Fix is what to write instead, ready to be pasted where it can be; empty
	// where nobody but the admin can know.
	Fix string `json:"fix"`
	Why string `json:"why"`
	// Source is the line itself, and Width how many characters of it the caret
	// marks.
	Source string `json:"-"`
	Width  int    `json:"-"`
}

// HasErrors reports whether one of the problems keeps a file out.
func HasErrors(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Level == Error })
}

// sortProblems puts problems in the order of the file, errors before warnings
// of the same place.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Level, b.Level), cmp.Compare(a.Code, b.Code),
		)
	})
}
