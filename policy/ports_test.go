package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestWhatAPortCarriesBeforeTheHostIsKnown(t *testing.T) {
	p := compile(t,
		with(allow("web", "www.example.org"), on(443, 8443), speaking(policy.TLS)),
		with(allow("raw", "raw.example.org"), on(8443, 9000), speaking(policy.TCP)),
		with(allow("mine", "mine.example.org"), on(9001), speaking(policy.PlainHTTP), from("10.20.0.5")),
		with(allow("over", "over.example.org"), on(9002), speaking(policy.TLS), until(now)),
		with(allow("time", "time.example.org"), on(80), speaking(policy.UDP), forward),
		with(deny("no", "no.example.org"), on(9003), speaking(policy.TLS)))
	for port, want := range map[uint16]policy.Protocol{
		443: policy.TLS, 80: policy.PlainHTTP, 9000: policy.TCP, 9002: policy.TCP, 9003: policy.TCP, 5671: policy.TLS,
		8443: policy.TLS, // the one under which less gets through
	} {
		require.Equal(t, want, p.PortProtocol(server, port, now), "%d", port)
	}
	require.Equal(t, policy.PlainHTTP, p.PortProtocol(server, 9001, now))
	require.Equal(t, policy.TCP, p.PortProtocol(device, 9001, now), "another client's rule")
	var none *policy.Policy
	require.Equal(t, policy.TLS, none.PortProtocol(server, 443, now))
}
