package appliance

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/metrics"
)

func scrape(t *testing.T, tally *metrics.Tally) string {
	t.Helper()
	w := httptest.NewRecorder()
	tally.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestTheDoorsOfTheAdminListener(t *testing.T) {
	s := httptest.NewServer(doors{names: []string{"gate.school.example"}, next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})})
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	for _, c := range []struct {
		name, method, host string
		header             map[string]string
		status             int
	}{
		{name: "by its address", host: "127.0.0.1:" + port, status: 204},
		{name: "by localhost", host: "localhost:" + port, status: 204},
		{name: "by a name of the configuration, in capitals", host: "GATE.school.example", status: 204},
		{name: "by a name that a stranger made point here", host: "rebind.example:" + port, status: 421},
		{name: "by another address", host: "192.0.2.7:" + port, status: 421},
		{name: "by a name that only begins well", host: "localhost.example", status: 421},
		{name: "a change from the page itself", method: "POST", host: "127.0.0.1:" + port,
			header: map[string]string{"Sec-Fetch-Site": "same-origin"}, status: 204},
		{name: "a change without a browser", method: "POST", host: "127.0.0.1:" + port, status: 204},
		{name: "a change from another site", method: "POST", host: "127.0.0.1:" + port,
			header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		{name: "a change from another site of an old browser", method: "POST", host: "127.0.0.1:" + port,
			header: map[string]string{"Origin": "http://evil.example"}, status: 403},
		{name: "a change from another port of this machine", method: "POST", host: "127.0.0.1:" + port,
			header: map[string]string{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, status: 403},
		{name: "a change from a page without origin", method: "POST", host: "127.0.0.1:" + port,
			header: map[string]string{"Origin": "null"}, status: 403},
		{name: "reading from another site shows nothing to it, but is no change", host: "127.0.0.1:" + port,
			header: map[string]string{"Origin": "http://evil.example"}, status: 204},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, s.URL, nil)
			require.NoError(t, err)
			req.Host = c.host
			for k, v := range c.header {
				req.Header.Set(k, v)
			}
			resp, err := s.Client().Do(req)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, c.status, resp.StatusCode)
			require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
		})
	}
}
