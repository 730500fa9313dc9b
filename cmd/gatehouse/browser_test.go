//go:build browser

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// The browser's test drives Chromium through the console of the built binary. It
// has a build tag of its own, for its library is large; .ci/console runs it, in a
// network where there is nothing but loopback. GATEHOUSE_SCREENSHOTS names a folder
// for pictures of the pages, GATEHOUSE_AXE the file axe.min.js: then each page is
// held to the rules of axe-core.

// browserPatience bounds everything that a page is waited for. It is for a machine
// that has much else to do.
const browserPatience = 4 * time.Minute

// browser is one tab of Chromium, and what was seen in it.
type browser struct {
	context.Context
	t      *testing.T
	origin string // http://ADDRESS of the console

	mu      sync.Mutex
	faults  []string // errors of scripts and of the console's pages
	strayed []string // requests that went elsewhere
}

func newBrowser(t *testing.T, g *gate) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	need(t, err == nil, "chromium is not installed")
	alloc, stop := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.WSURLReadTimeout(browserPatience))
	t.Cleanup(stop)
	tab, leave := chromedp.NewContext(alloc)
	t.Cleanup(leave)
	require.NoError(t, chromedp.Do(tab)) // begins the browser, which lives as long as this context
	b := &browser{Context: tab, t: t, origin: "http://" + g.admin}
	require.NoError(t, chromedp.Listen(tab, b.note))
	b.do(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), command(runtime.Enable, cdp.Empty{}))
	return b
}

// command is one of the browser's protocol as a step.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// note takes down what should not happen.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, fmt.Sprintf("%+v", e.ExceptionDetails))
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" && !strings.HasSuffix(e.Entry.URL, "/favicon.ico") {
			b.faults = append(b.faults, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") && !strings.HasPrefix(e.Request.URL, "data:") && e.Request.URL != "about:blank" {
			b.strayed = append(b.strayed, e.Request.URL)
		}
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, browserPatience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// visit opens a page and waits for the whole of it.
func (b *browser) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.origin+path), chromedp.WaitReady(chromedp.CSS("footer")))
}

// press presses a button that leads to another page, and waits for that.
func (b *browser) press(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, browserPatience)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	require.NoError(b.t, err)
	b.do(chromedp.WaitReady(chromedp.CSS("footer")))
}

// gives runs a step that gives something.
func gives[T any](b *browser, step chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, browserPatience)
	defer cancel()
	got, err := chromedp.Run(ctx, step)
	require.NoError(b.t, err)
	return got
}

// ask evaluates an expression in the page. The page's own policy forbids scripts;
// the debugger is not bound by it.
func ask[T any](b *browser, expression string) T {
	b.t.Helper()
	return gives(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

func (b *browser) text() string {
	b.t.Helper()
	return gives(b, chromedp.Text(chromedp.CSS("main")))
}

// view is how somebody looks at the pages.
type view struct {
	name          string
	width, height int64
	mobile        bool
	scheme        string
}

var views = []view{
	{"wide-light", 1280, 900, false, "light"},
	{"wide-dark", 1280, 900, false, "dark"},
	{"phone-light", 360, 740, true, "light"},
	{"phone-dark", 360, 740, true, "dark"},
}

func (b *browser) look(v view) {
	b.t.Helper()
	b.do(command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: v.width, Height: v.height, DeviceScaleFactor: 1, Mobile: v.mobile}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}}))
}

// picture keeps a picture of the page, where somebody wants them.
func (b *browser) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("GATEHOUSE_SCREENSHOTS")
	if folder == "" {
		return
	}
	png := gives(b, chromedp.FullScreenshot(100))
	require.NoError(b.t, os.MkdirAll(folder, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644))
}

// blameless fails where anything went wrong in the pages so far.
func (b *browser) blameless() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.faults, "errors in the pages")
	require.Empty(b.t, b.strayed, "requests to elsewhere")
}

// accessible holds the page to the rules of axe-core.
func (b *browser) accessible(page string) {
	b.t.Helper()
	file := os.Getenv("GATEHOUSE_AXE")
	if file == "" {
		return
	}
	axe, err := os.ReadFile(file)
	require.NoError(b.t, err)
	b.do(chromedp.Evaluate[chromedp.Void](string(axe)))
	found := ask[[]string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + v.help + ": " + n.html)))`)
	require.Empty(b.t, found, "axe-core about %s", page)
}

// consoleWorld is a gate with some passages behind it.
func consoleWorld(t *testing.T) *gate {
	t.Helper()
	dns := nettest.NewDNS(t, "www.groupcall.co.uk. 300 IN A 127.0.0.2",
		"emergeen.servicebus.windows.net. 9 IN CNAME ns-sb2-prod-db3-001.trafficmanager.net.",
		"ns-sb2-prod-db3-001.trafficmanager.net. 299 IN CNAME ns-sb2-prod-db3-001-s1.cloudapp.net.",
		"ns-sb2-prod-db3-001-s1.cloudapp.net. 9 IN A 127.0.0.3",
		"g0-prod-db3-001-sb.servicebus.windows.net. 9 IN A 127.0.0.3")
	updates := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if strings.HasPrefix(r.URL.Path, "/portal") {
			w.Header().Set("Content-Type", "text/html")
		}
		fmt.Fprint(w, "[Version]\r\n")
	}))
	t.Cleanup(updates.Close)
	expose(t, "127.0.0.2:80", updates.Listener.Addr().String())
	g := newGate(t, buildBinary(t), e2eRules, dns)
	g.start(t)
	for range 5 {
		g.curl(t, "http://www.groupcall.co.uk/update.inf")
	}
	g.curl(t, "http://www.groupcall.co.uk/portal.inf")
	g.curl(t, "http://www.example.org/")
	g.curl(t, "-k", "https://www.example.com/")
	for _, name := range []string{"emergeen.servicebus.windows.net", "g0-prod-db3-001-sb.servicebus.windows.net", "www.groupcall.co.uk", "nowhere.example.net"} {
		g.dig(t, name, "A")
	}
	g.eventually(t, "all of it is written down", func() bool { return total(g.decisions(t)) >= 12 })
	return g
}

func TestBrowser(t *testing.T) {
	needTools(t)
	g := consoleWorld(t)
	b := newBrowser(t, g)
	t.Run("a draft is put on trial, taken back, and another kept", func(t *testing.T) { b.on(t).testTrial(g) })
	t.Run("the history returns to a file", func(t *testing.T) { b.on(t).testHistory(g) })
	t.Run("every page is sound, wide and on a telephone, light and dark", func(t *testing.T) { b.on(t).testPages(g) })
	t.Run("the keyboard reaches everything, and one sees where one is", func(t *testing.T) { b.on(t).testKeyboard() })
	t.Run("decisions are filtered and explained", func(t *testing.T) { b.on(t).testDecisions() })
	t.Run("new decisions come by themselves, those that fit", func(t *testing.T) { b.on(t).testLive(g) })
	t.Run("without scripts everything is there", func(t *testing.T) { b.on(t).testWithoutScripts(g) })
}

// on is the browser as a part of the test uses it.
func (b *browser) on(t *testing.T) *browser {
	b.t = t
	return b
}

func (b *browser) paste(text string) {
	b.t.Helper()
	b.visit("/rules")
	b.do(chromedp.SetValue(chromedp.CSS(`textarea[name="text"]`), text))
	b.press(`button[value="check"]`)
}

// consolePages are all that one can walk to.
var consolePages = map[string]string{
	"connected": "/", "decisions": "/decisions", "denied": "/decisions?verdict=denied", "rules": "/rules", "history": "/history", "changes": "/changes",
	"names": "/names", "ask": "/ask?client=127.0.0.1&target=http://www.example.org/", "backup": "/backup", "health": "/health",
}
