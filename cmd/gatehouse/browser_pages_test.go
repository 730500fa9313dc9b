//go:build browser

package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

func (b *browser) testTrial(g *gate) {
	t := b.t
	before, err := os.ReadFile(g.path("rules.toml"))
	require.NoError(t, err)
	b.paste("version = 1\nrubbish\n")
	require.Contains(t, b.text(), "It cannot be put in force.")
	b.picture("draft-refused")

	draft := string(before) + "[[allow]]\nname = \"pilot\"\nhosts = \"pilot.example.org\"\n"
	b.paste(draft)
	require.Contains(t, b.text(), "allow pilot is new")
	b.picture("draft-checked")
	b.accessible("a checked draft")
	b.press(`button[value="apply"]`)
	require.Contains(t, b.text(), "The draft is in force.")
	b.picture("draft-on-trial")
	b.press(`button[value="revert"]`)
	require.Contains(t, b.text(), "The file of before is back in force.")
	text, err := os.ReadFile(g.path("rules.toml"))
	require.NoError(t, err)
	require.Equal(t, string(before), string(text))

	b.paste(draft)
	b.press(`button[value="apply"]`)
	b.press(`button[value="confirm"]`)
	require.Contains(t, b.text(), "The rules are kept.")
	text, err = os.ReadFile(g.path("rules.toml"))
	require.NoError(t, err)
	require.Equal(t, draft, string(text))
	b.blameless()
}

func (b *browser) testHistory(g *gate) {
	t := b.t
	b.visit("/history")
	b.press(`.actions button`)
	require.Contains(t, b.text(), "pilot.example.org")
	b.picture("compare")
	b.accessible("a comparison")
	b.visit("/history")
	b.press(`tbody tr:last-child button`)
	require.Contains(t, b.text(), "The draft is in force.")
	text, err := os.ReadFile(g.path("rules.toml"))
	require.NoError(t, err)
	require.Equal(t, e2eRules, string(text))
	b.press(`button[value="confirm"]`)
	b.visit("/changes")
	require.Contains(t, b.text(), "kept the draft on trial")
	b.blameless()
}

func (b *browser) testPages(g *gate) {
	pages := map[string]string{}
	for name, path := range consolePages {
		pages[name] = path
	}
	b.visit("/decisions?verdict=denied")
	pages["decision"] = ask[string](b, `document.querySelector("tbody a[href^='/decisions/']").getAttribute("href")`)
	for _, v := range views {
		b.look(v)
		for name, path := range pages {
			b.visit(path)
			wide := ask[struct{ Content, Window int }](b, `({Content: document.scrollingElement.scrollWidth, Window: window.innerWidth})`)
			require.LessOrEqual(b.t, wide.Content, wide.Window, "%s scrolls sideways (%s)", path, v.name)
			require.LessOrEqual(b.t, wide.Window, int(v.width), "%s makes the telephone zoom out", path)
			b.accessible(path + " " + v.name)
			b.picture(name + "-" + v.name)
		}
	}
	b.look(views[0])
	b.blameless()
}

// focused is where the keyboard is.
type focused struct {
	Tag, Text, Href, Name string
	Outline               bool
}

func (b *browser) tab() focused {
	b.t.Helper()
	b.do(chromedp.KeyEvent(kb.Tab))
	return ask[focused](b, `(() => { const e = document.activeElement, s = getComputedStyle(e);
		return {Tag: e.tagName, Text: e.innerText || "", Href: e.getAttribute("href") || "", Name: e.getAttribute("name") || "",
			Outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0} })()`)
}

func (b *browser) testKeyboard() {
	t := b.t
	b.visit("/ask")
	first := b.tab()
	require.Equal(t, "#main", first.Href, "the first stop leads past the navigation")
	var order []string
	for {
		f := b.tab()
		if f.Tag == "BODY" || len(order) > 40 {
			break
		}
		require.True(t, f.Outline, "one does not see where one is: %+v", f)
		order = append(order, f.Href+f.Name)
		if f.Name == "client" {
			b.do(chromedp.KeyEvent("127.0.0.1"))
		}
		if f.Name == "target" {
			b.do(chromedp.KeyEvent("http://www.example.org/"))
			break
		}
	}
	require.Equal(t, []string{"/", "/decisions", "/rules", "/history", "/names", "/ask", "/backup", "/health", "client", "target"}, order)
	ctx, cancel := context.WithTimeout(b.Context, browserPatience)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(kb.Enter))
	require.NoError(t, err)
	b.do(chromedp.WaitReady(chromedp.CSS("footer")))
	require.Contains(t, b.text(), "host-not-listed")
	b.blameless()
}

func (b *browser) testDecisions() {
	t := b.t
	b.visit("/decisions")
	b.do(chromedp.SetValue(chromedp.CSS(`select[name="verdict"]`), "denied"), chromedp.SetValue(chromedp.CSS(`input[name="host"]`), "groupcall"))
	b.press(`main form button`)
	text := b.text()
	require.Contains(t, text, "type-not-listed")
	require.NotContains(t, text, "update.inf")
	b.do(chromedp.Click(chromedp.CSS(`tbody summary`), chromedp.NodeVisible), chromedp.WaitVisible(chromedp.CSS(`tbody details a`)))
	require.Contains(t, b.text(), "add \"text/html\" to types")
	b.press(`tbody details a`)
	text = b.text()
	require.Contains(t, text, "to permit it: add \"text/html\" to types")
	b.visit("/decisions?verdict=denied&host=example.com")
	b.do(chromedp.Click(chromedp.CSS(`tbody summary`), chromedp.NodeVisible), chromedp.Click(chromedp.CSS(`tbody details button`), chromedp.NodeVisible))
	require.Contains(t, ask[string](b, `getSelection().toString()`), "hosts = [\"www.example.com\"]", "what is to be copied is taken")
	b.picture("denied-open")
	b.accessible("a refusal that is opened")
	b.visit("/decisions")
	require.Contains(t, ask[string](b, `document.querySelector(".chart svg").getAttribute("aria-label")`), "allowed:")
	b.visit("/names")
	text = b.text()
	require.Contains(t, text, "ns-sb2-prod-db3-001-s1.cloudapp.net")
	require.Contains(t, text, "AzureCloud.northeurope")
	require.Contains(t, text, "prod-db3-001")
	b.blameless()
}

// rows waits until the table of decisions begins with a row that holds a text.
func (b *browser) rows(begin string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return strings.Contains(ask[string](b, `document.querySelector(".stack tbody")?.innerText ?? ""`), begin)
	}, browserPatience, 100*time.Millisecond, "%s does not come", begin)
}

func (b *browser) testLive(g *gate) {
	t := b.t
	b.visit("/decisions?live=1&verdict=denied&host=live")
	b.do(chromedp.WaitReady(chromedp.CSS(`tr.none`)))
	require.Eventually(t, func() bool { return strings.Contains(b.text(), "New decisions come by themselves.") }, browserPatience, 100*time.Millisecond)
	g.curl(t, "http://one.live.example/")
	g.curl(t, "http://other.example/")
	g.curl(t, "http://two.live.example/")
	b.rows("two.live.example")
	rows := ask[[]string](b, `Array.from(document.querySelectorAll(".stack tbody tr"), r => r.cells[2].innerText)`)
	require.Equal(t, []string{"GET http://two.live.example/", "GET http://one.live.example/"}, rows, "the newest first, and only what fits")
	b.accessible("a live view")
	b.picture("live")
	b.press(`#live + a`)
	require.Equal(t, "/decisions?host=live&verdict=denied", ask[string](b, `location.pathname + location.search`), "whoever stops keeps his filter")
	b.blameless()
}

func (b *browser) testWithoutScripts(g *gate) {
	t := b.t
	off := func(value bool) {
		b.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: value}))
	}
	off(true)
	defer off(false)
	b.visit("/decisions?live=1&host=unscripted")
	require.Contains(t, b.text(), "This page is loaded again every three seconds.")
	g.curl(t, "http://unscripted.example/")
	b.rows("unscripted.example")
	b.do(chromedp.Click(chromedp.CSS(`#live + a`), chromedp.NodeVisible), chromedp.WaitReady(chromedp.CSS("footer")))
	b.visit("/decisions?host=unscripted")
	require.Empty(t, ask[string](b, `document.querySelector("details button")?.innerText ?? ""`), "nothing is offered that does nothing")
	b.do(chromedp.Click(chromedp.CSS(`tbody summary`), chromedp.NodeVisible), chromedp.WaitVisible(chromedp.CSS(`tbody details pre`)))
	require.Contains(t, b.text(), "unscripted.example")
	b.blameless()
}
