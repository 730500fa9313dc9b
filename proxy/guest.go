package proxy

import (
	"net"
	"net/http"

	"github.com/elazarl/goproxy"
)

// newGuest sets goproxy up as a guest. It asks the exchange for every decision
// and every byte: its own Transport, its dialling, its CA, its environment
// proxies, and its ways of accepting or decrypting a tunnel are not used.
func newGuest() http.Handler {
	g := goproxy.NewProxyHttpServer()
	g.Logger = silence{} // it prints warnings even when it is not verbose
	g.Tr = nil           // its default skips verification and asks the environment
	g.ConnectDial, g.ConnectDialWithReq = nil, nil
	g.KeepAcceptEncoding = true
	g.NonproxyHandler = http.NotFoundHandler() // unreachable: every request has a whole URL
	g.OnRequest().DoFunc(func(r *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		ctx.RoundTripper = goproxy.RoundTripperFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
			return exchangeOf(r.Context()).roundTrip(r), nil
		})
		return r, nil
	})
	g.OnRequest().HandleConnectFunc(func(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		e := exchangeOf(ctx.Req.Context())
		if refused := e.connect(); refused != nil {
			ctx.Resp = e.say(refused)
			ctx.Resp.Close = true // goproxy closes after it, without a word of its own
			return &goproxy.ConnectAction{Action: goproxy.ConnectReject}, host
		}
		return &goproxy.ConnectAction{
			Action: goproxy.ConnectHijack,
			Hijack: func(*http.Request, net.Conn, *goproxy.ProxyCtx) { e.carryTunnel() },
		}, host
	})
	return g
}

// silence is a logger that says nothing.
type silence struct{}

func (silence) Printf(string, ...any) {}
