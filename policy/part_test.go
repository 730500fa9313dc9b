package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func mediaTypes(t *testing.T, list ...string) (all []policy.MediaType) {
	for _, s := range list {
		m, err := policy.ParseMediaType(s)
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}

func TestOneRuleMustPermitEveryPartOfAnUpload(t *testing.T) {
	sends := func(list ...string) func(*policy.Rule) {
		return func(r *policy.Rule) { r.Uploads = mediaTypes(t, list...) }
	}
	forms := with(allow("forms", "www.example.org"), on(80), sends("multipart/form-data", "text/plain"))
	tables := with(allow("tables", "www.example.org"), on(80), sends("multipart/form-data", "text/csv"))
	anything := with(allow("anything", "open.example.org"), on(80))
	noPrograms := with(deny("no-programs", "open.example.org", "www.example.org"), sends("application/x-msdownload"))
	p := compile(t, forms, tables, anything, noPrograms)
	for _, test := range []struct {
		name, host string
		parts      []string
		reason     policy.Reason
	}{
		{"parts of the one rule pass", "www.example.org", []string{"text/plain", "text/plain"}, policy.Matched},
		{"parts of the other rule pass", "www.example.org", []string{"text/csv"}, policy.Matched},
		{"a part of each does not", "www.example.org", []string{"text/plain", "text/csv"}, policy.UploadNotListed},
		{"a part of neither does not", "www.example.org", []string{"application/zip"}, policy.UploadNotListed},
		{"a part whose type cannot be told does not", "www.example.org", []string{""}, policy.UploadNotListed},
		{"where no rule lists uploads any part passes", "open.example.org", []string{"application/zip", ""}, policy.Matched},
		{"but not one that a deny names", "open.example.org", []string{"text/plain", "application/x-msdownload"}, policy.DeniedByRule},
	} {
		t.Run(test.name, func(t *testing.T) {
			host, err := policy.ParseHost(test.host)
			require.NoError(t, err)
			v, permit := p.Request(policy.Request{
				At: now, Client: server, Dest: policy.Dest{Host: host, Port: 80}, Method: "POST", Path: policy.NewPath("/"),
				Body: true, Upload: mediaTypes(t, "multipart/form-data")[0],
			})
			require.True(t, v.Allowed())
			require.True(t, p.JudgesParts(permit))
			first := permit
			for _, part := range test.parts {
				var kind policy.MediaType
				if part != "" {
					kind = mediaTypes(t, part)[0]
				}
				if v, permit = p.Part(policy.Part{At: now, Permit: permit, Type: kind}); !v.Allowed() {
					break
				}
			}
			require.Equal(t, test.reason, v.Reason)
			require.True(t, p.Review(first, now).Allowed(), "the permit before keeps its own facts")
		})
	}
	v, _ := p.Part(policy.Part{At: now})
	require.Equal(t, policy.NoPolicy, v.Reason, "without a permit there is nothing to judge")
	require.False(t, p.JudgesParts(policy.Permit{}))
}
