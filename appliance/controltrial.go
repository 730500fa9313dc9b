package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gatehouse/appliance/console"
)

// Draft is what a rules file would do, and Trial a file that waits for its
// confirmation; the room behind is the appliance's own.
type (
	Draft = console.Draft
	Trial = console.Trial
)

// Check asks the appliance what a rules file would do.
func (c *Control) Check(ctx context.Context, text []byte) (d Draft, err error) {
	return d, c.tell(ctx, "/api/v1/check", text, &d)
}

// Apply has the appliance put a rules file in force, on trial.
func (c *Control) Apply(ctx context.Context, text []byte) (t Trial, err error) {
	return t, c.tell(ctx, "/api/v1/apply", text, &t)
}

// Confirm keeps the rules on trial.
func (c *Control) Confirm(ctx context.Context) error {
	return c.tell(ctx, "/api/v1/confirm", nil, nil)
}

// Revert brings the rules of before the trial back.
func (c *Control) Revert(ctx context.Context) error {
	return c.tell(ctx, "/api/v1/revert", nil, nil)
}

// tell posts to the JSON interface, and reads what it answers.
func (c *Control) tell(ctx context.Context, path string, text []byte, into any) error {
	status, body, err := c.send(ctx, http.MethodPost, path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		var said struct {
			Error    string
			Problems []string
		}
		if json.Unmarshal(body, &said) != nil {
			return fmt.Errorf("the gate answers with status %d: %s", status, strings.TrimSpace(string(body)))
		}
		return errors.New(strings.Join(append([]string{said.Error}, said.Problems...), "\n"))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}
