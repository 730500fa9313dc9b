package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// asking is one request that a requirement permits or does not.
type asking struct {
	name, host, method, path, upload string
	status                           int
	reason                           string // of a refusal
	body                             string // of an answer
	seen                             bool   // the gate looks inside
}

// askings are made of the https rows of the requirements: each of its methods with
// each of its types, a method nobody asks for and, where the type is bound, one
// that nobody asks for.
func askings(t *testing.T) (all []asking) {
	f, err := os.Open("../../rules/testdata/requirements.csv")
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.FieldsPerRecord = '#', -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	seen := 0
	for _, row := range rows[1:] {
		id, host, schemes, methods, glob, types, pack := row[0], row[5], row[6], strings.TrimPrefix(row[9], "(not stated) "), row[10], row[11], row[len(row)-2]
		if !strings.Contains(schemes, "https") || strings.ContainsAny(host, "(;") || methods == "" || methods == "CONNECT" || strings.HasPrefix(pack, "none") {
			continue
		}
		seen++
		// Rules without inner clauses need no look inside.
		looks := host != "xporter.groupcall.com" && host != "xodhub.groupcall.com"
		path := strings.Replace(glob, "*", strings.ToLower(id), 1)
		if !strings.HasPrefix(path, "/") {
			path = "/updates/" + path
		}
		kinds := strings.Split(types, ";")
		if types == "" {
			kinds = []string{"text/html"}
		}
		for _, kind := range kinds {
			for method := range strings.SplitSeq(methods, ";") {
				a := asking{fmt.Sprintf("%s %s as %s", id, method, kind), host, method, path + "?type=" + url.QueryEscape(kind), "", 200, "", contentOf(kind), looks}
				if method == "POST" {
					a.upload = kind
					a.body += " after 4 octets"
				}
				all = append(all, a)
			}
		}
		if methods == "GET;POST" && !strings.HasPrefix(row[9], "(") {
			all = append(all, asking{id + " DELETE", host, "DELETE", path + "?type=text/plain", "", 403, "method-not-listed", "", looks})
		}
		if types != "" && (strings.HasPrefix(glob, "*.") || host == "dashboard.groupcall.com") {
			all = append(all, asking{id + " as an image", host, "GET", path + "?type=image/png", "", 403, "type-not-listed", "", looks})
		}
	}
	require.GreaterOrEqual(t, seen, 14)
	return append(all, asking{"an address", "127.0.0.12", "GET", "/?type=text/plain", "", 200, "", "text", true})
}

// askAll asks all of them one after another, and holds what the clients saw and
// what was counted to what must be.
func (g *gate) askAll(t *testing.T, list []asking, ask func(asking) (int, string)) {
	before := g.decisions(t)
	want, inside := map[string]int{}, 0
	for _, a := range list {
		status, body := ask(a)
		require.Equal(t, a.status, status, "%s: %s", a.name, body)
		if a.status == 200 {
			require.Equal(t, a.body, body, a.name)
			if a.seen {
				want["http allowed matched"]++
			}
		} else {
			require.Contains(t, body, "The gateway refused access to "+a.host+":443.", a.name)
			want["http denied "+a.reason]++
		}
		if a.seen {
			inside++
		}
	}
	g.eventually(t, "each exchange and each tunnel is counted once", func() bool {
		got := since(before, g.decisions(t))
		for labels, n := range want {
			if countOf(got, labels) != n {
				return false
			}
		}
		return countOf(got, "http ") == inside && countOf(got, "connect ") == len(list) && countOf(got, "connect allowed matched") == countOf(got, "connect ")
	})
}

// goAsk asks as Go programs do.
func goAsk(t *testing.T, proxy string, roots *x509.CertPool, a asking) (int, string) {
	t.Helper()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), nettest.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, a.method, "https://"+a.host+a.path, nil)
	require.NoError(t, err)
	if a.upload != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("data")), 4
		r.Header.Set("Content-Type", a.upload)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(t, err, a.name)
	defer resp.Body.Close()
	require.Equal(t, "HTTP/1.1", resp.Proto)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err, a.name)
	return resp.StatusCode, string(body)
}

func (g *gate) curlAsk(t *testing.T, trusted string, a asking) (int, string) {
	t.Helper()
	args := []string{"--cacert", trusted, "-X", a.method, "-w", "\n%{http_code}"}
	if a.upload != "" {
		args = append(args, "-H", "Content-Type: "+a.upload, "--data-binary", "data")
	}
	out, code := g.curl(t, append(args, "https://"+a.host+a.path)...)
	require.Zero(t, code, "%s: %s", a.name, out)
	i := strings.LastIndexByte(out, '\n')
	status, err := strconv.Atoi(out[i+1:])
	require.NoError(t, err, out)
	return status, out[:i]
}

// answered is what a client saw.
type answered struct {
	status int
	body   string
}

// nodeAsk asks all with one Node, each in a tunnel of its own.
func (g *gate) nodeAsk(t *testing.T, trusted string, list []asking) (all []answered) {
	t.Helper()
	var lines bytes.Buffer
	for _, a := range list {
		body := ""
		if a.upload != "" {
			body = "data"
		}
		require.NoError(t, json.NewEncoder(&lines).Encode(map[string]string{"host": a.host, "method": a.method, "path": a.path, "type": a.upload, "body": body}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*nettest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/e2e/client.js", g.proxy)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_EXTRA_CA_CERTS=" + trusted}
	cmd.Stdin = &lines
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for line := range strings.Lines(string(out)) {
		status, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(status)
		require.NoError(t, err, string(out))
		var text string
		require.NoError(t, json.Unmarshal([]byte(body), &text), line)
		all = append(all, answered{n, latin1(text)})
	}
	require.Len(t, all, len(list))
	return all
}

// latin1 gives back the bytes that Node showed as characters.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// opensslAsk asks as programs of 2010 do: TLS 1.2, no ALPN, AES in CBC.
func (g *gate) opensslAsk(t *testing.T, trusted string, a asking) (int, string) {
	t.Helper()
	name := []string{"-servername", a.host, "-verify_hostname", a.host}
	if net.ParseIP(a.host) != nil {
		name = []string{"-noservername", "-verify_ip", a.host}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*nettest.Patience)
	defer cancel()
	args := []string{"s_client", "-proxy", g.proxy, "-connect", a.host + ":443", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA",
		"-CAfile", trusted, "-verify_return_error", "-quiet", "-ign_eof"}
	cmd := exec.CommandContext(ctx, "openssl", append(args, name...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", a.method, a.path, a.host)
	if a.upload != "" {
		request += "Content-Type: " + a.upload + "\r\nContent-Length: 4\r\n\r\ndata"
	} else {
		request += "\r\n"
	}
	cmd.Stdin = strings.NewReader(request)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	resp, malformed := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), &http.Request{Method: a.method})
	require.NoError(t, malformed, "%s: %v: %s", a.name, err, said.String())
	defer resp.Body.Close()
	body, malformed := io.ReadAll(resp.Body)
	require.NoError(t, malformed, a.name)
	return resp.StatusCode, string(body)
}
