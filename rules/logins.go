package rules

import (
	"errors"
	"io/fs"

	"gatehouse/internal/htpasswd"
	"gatehouse/internal/wholefile"
	"gatehouse/policy"
)

// mostLoginFlaws bounds what is told of one password file.
const mostLoginFlaws = 20

// readLogins reads a password file that the rules name.
func readLogins(path string) ([]byte, error) { return wholefile.Read(path, 16<<20) }

// logins reads the password file of a group. Where it cannot be used the rules
// cannot be loaded.
func (c *compiler) logins(t text) policy.Logins {
	content, err := c.env.ReadFile(c.beside(t.value))
	if err != nil {
		var where *fs.PathError
		if errors.As(err, &where) { // the path is in the message, and is ours to spell
			err = where.Err
		}
		c.doc.report(codeLogins, t.at(), "", "the password file %s cannot be read: %v; make it with \"htpasswd -cB %s USER\", and let gatehouse read it", t.value, err, t.value)
		return nil
	}
	file, flaws := htpasswd.Parse(content)
	for _, f := range flaws[:min(len(flaws), mostLoginFlaws)] {
		if f.Line == 0 {
			c.doc.report(codeLogins, t.at(), "", "the password file %s: %s", t.value, f.Message)
		} else {
			c.doc.report(codeLogins, t.at(), "", "the password file %s, line %d: %s", t.value, f.Line, f.Message)
		}
	}
	if file == nil {
		return nil
	}
	return file
}
