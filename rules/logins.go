package rules

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"gatehouse/internal/htpasswd"
	"gatehouse/policy"
)

// mostLoginFlaws bounds what is told of one password file.
const mostLoginFlaws = 20

// readPlain reads a file that the rules name: no device that never ends, and no
// pipe that waits.
func readPlain(path string) ([]byte, error) {
	const most = 16 << 20
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no plain file")
	case info.Size() > most:
		return nil, errors.New("it is larger than 16 MiB")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

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
