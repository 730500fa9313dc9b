package rules

// Unenforced is an inner clause that cannot be checked, and why.
type Unenforced struct {
	Rule   string `json:"rule"`
	Line   int    `json:"line"`
	Clause string `json:"clause"`
	Why    string `json:"why"`
}

func (c *compiler) unenforced() []Unenforced { return nil }
