package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Webhook POSTs messages as JSON.
type Webhook struct {
	URL  string
	HTTP http.RoundTripper
}

// Name implements Sender.
func (Webhook) Name() string { return "webhook" }

// Send implements Sender. Any 2xx will do. No error tells the URL, whose path is
// often the only secret there is.
func (w Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("alarm.webhook is no URL that can be asked")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gatehouse")
	client := http.Client{Transport: w.HTTP, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // to where the setting does not name
	}}
	resp, err := client.Do(req)
	if err != nil {
		var with *url.Error
		if errors.As(err, &with) {
			err = with.Err
		}
		return fmt.Errorf("POST to %s: %w", req.URL.Host, err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST to %s: status %d", req.URL.Host, resp.StatusCode)
	}
	return nil
}
