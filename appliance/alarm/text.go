package alarm

import (
	"fmt"
	"strings"
	"time"
)

// Subject is a message in one line.
func (m Message) Subject() string {
	first := m.Events[0]
	says := string(first.Kind)
	if first.Subject != "" {
		says += " " + first.Subject
	}
	if first.Phase != Begun {
		says += " " + map[Phase]string{Lasts: "lasts", Over: "is over"}[first.Phase]
	}
	if n := len(m.Events) - 1; n > 0 {
		says += fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("gatehouse %s: %s", m.Gate, says)
}

// Text is a message in plain words.
func (m Message) Text() string {
	var b strings.Builder
	for _, e := range m.Events {
		switch e.Phase {
		case Over:
			fmt.Fprintf(&b, "OVER, since %s it was so: ", e.Since.Format(time.RFC1123Z))
		case Lasts:
			fmt.Fprintf(&b, "STILL, since %s: ", e.Since.Format(time.RFC1123Z))
		}
		b.WriteString(e.Says + "\n")
		if e.Fix != "" {
			b.WriteString("What to do: " + e.Fix + "\n")
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "-- \ngatehouse on %s, %s. It tells again of what lasts, and when it is over.\n", m.Gate, m.At.Format(time.RFC1123Z))
	return b.String()
}
