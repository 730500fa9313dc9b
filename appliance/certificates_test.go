package appliance

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/doctor"
	"gatehouse/internal/nettest"
)

func TestTheConsolesCertificateIsWatched(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	selfSigned(t, dir, login) // for an hour
	config, problems := ParseConfig(filepath.Join(dir, "gatehouse.toml"), []byte("[listen]\nadmin = \"0.0.0.0:0\"\nweb_config = \"web.yml\"\n[state]\ndir = \"state\"\n"))
	require.Empty(t, problems)
	ahead := time.Duration(0)
	a := New(Options{Config: config, Log: quiet(), Now: func() time.Time { return time.Now().Add(ahead) }})
	defer a.resolver.Close()
	check := func() *doctor.Check {
		checks := a.certificateChecks()
		require.Len(t, checks, 1)
		require.Equal(t, "console", checks[0].Name)
		return checks[0]
	}
	require.Equal(t, doctor.Warning, check().State)
	require.Contains(t, check().Says, "its certificate ends on")
	ahead = -20 * 24 * time.Hour
	require.Equal(t, doctor.OK, check().State)
	ahead = 2 * time.Hour
	require.Equal(t, doctor.Failed, check().State)
	require.Contains(t, check().Says, "ended on")
	for text, says := range map[string]string{"": "none in PEM form", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "x509"} {
		write(t, filepath.Join(dir, "cert.pem"), text)
		require.Equal(t, doctor.Failed, check().State, text)
		require.Contains(t, check().Says, says)
		require.Contains(t, scrape(t, a.tally), `gatehouse_certificate_expiry_timestamp_seconds{certificate="console"} 0`+"\n")
	}
}

func TestCertificatesOfPublishedDoorsAreWatched(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.certificate("emerge.pem", nettest.NewAuthority(t, "school")) // for a day
	s.take(publishText + "tls = \"emerge.pem\"\n")
	checks := s.certificateChecks()
	require.Len(t, checks, 1)
	require.Equal(t, "publish emerge at 127.0.0.1:0", checks[0].Name)
	require.Equal(t, doctor.Warning, checks[0].State)

	told := func() (says string) {
		for _, c := range s.wrong() {
			if c.Kind == "certificate-ends" && c.Subject == "publish emerge at 127.0.0.1:0" {
				says = c.Says
			}
		}
		return says
	}
	require.Contains(t, told(), "its certificate ends on")
	const series = `gatehouse_certificate_expiry_timestamp_seconds{certificate="publish emerge at 127.0.0.1:0"} `
	require.Regexp(t, series+`1\.\d+e\+09\n`, scrape(t, s.tally))
	write(t, filepath.Join(s.dir, "emerge.pem"), "rubbish")
	require.Eventually(t, func() bool { return s.certificateChecks()[0].State == doctor.Failed }, nettest.Patience, 10*time.Millisecond)
	require.Contains(t, told(), "the one before is still shown")
	require.Regexp(t, series+`1\.\d+e\+09\n`, scrape(t, s.tally), "the end of the one that is shown")
}

func TestTheDoctorTriesWhatIsPublished(t *testing.T) {
	t.Parallel()
	s := newSite(t, publishText+`
[[publish]]
name    = "unsigned"
clients = "here"
listen  = "127.0.0.1:0"
to      = "http://nowhere.school.test"
tls     = "missing.pem"
`)
	examine := func() doctor.Report {
		report, err := s.Examine(t.Context(), doctor.Options{})
		require.NoError(t, err)
		return report
	}
	report := examine()
	server := found(report.Checks, "127.0.0.1:"+s.port)
	require.Equal(t, doctor.OK, server.State, "%s", report)
	require.Equal(t, "permitted for 127.0.0.1 by emerge", found(server.Parts, "rules").Says)
	require.Equal(t, "127.0.0.1:"+s.port+" answers", found(server.Parts, "connection").Says)
	require.Equal(t, doctor.OK, found(report.Checks, "publish emerge at 127.0.0.1:0").State)
	door := found(found(report.Checks, "published doors").Parts, "publish unsigned at 127.0.0.1:0")
	require.Equal(t, doctor.Failed, door.State)
	require.Contains(t, door.Says, "its certificate cannot be used")
	server = found(report.Checks, "nowhere.school.test:80")
	require.Equal(t, doctor.Failed, found(server.Parts, "name").State)
	require.Equal(t, doctor.NotTried, found(server.Parts, "connection").State)

	s.origin.Close()
	server = found(examine().Checks, "127.0.0.1:"+s.port)
	require.Equal(t, doctor.Failed, found(server.Parts, "connection").State)
	require.Contains(t, found(server.Parts, "connection").Says, "nobody answers")
}
