package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
	"gatehouse/internal/ca"
	"gatehouse/rules"
)

type caFlags struct {
	fileFlags
	domains     []string
	rotate, dry bool
	from, name  string
	years       int
	format, out string
	json        bool
}

func newCA() *cobra.Command {
	var f caFlags
	c := &cobra.Command{
		Use:   "ca",
		Short: "the CA under which the gate looks inside TLS",
		Long: `ca makes, shows and exports the inspection CA: the certificate that clients must
trust where [inspection] is enabled. It can vouch only for the domains it was made
for. docs/inspection.md says whether to switch inspection on, and how.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	init := &cobra.Command{Use: "init", Short: "make the CA, or its successor",
		Long: `init makes a CA for the domains of the hosts that the rules let the gate look
into, or for those that --for names, and keeps it in [inspection] dir. It never
overwrites one. With --rotate it makes a successor beside the CA: both are to be
trusted by the clients, and the successor signs from --from on.`,
		Example: "  gatehouse ca init --dry-run\n  gatehouse ca init --for groupcall.com,groupcall.co.uk\n  gatehouse ca init --rotate --from 2027-01-15",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return initCA(cmd, f) }}
	init.Flags().StringSliceVar(&f.domains, "for", nil, "the domains, instead of those the rules call for")
	init.Flags().BoolVar(&f.rotate, "rotate", false, "make a successor of the CA that is there")
	init.Flags().StringVar(&f.from, "from", "", "when the successor begins to sign, a date or \"now\" (default: in 14 days)")
	init.Flags().StringVar(&f.name, "name", ca.DefaultName, "what it is called")
	init.Flags().IntVar(&f.years, "years", 3, "how long it signs")
	init.Flags().BoolVar(&f.dry, "dry-run", false, "show the domains, and make nothing")
	rulesFlag(init, &f.rules)
	show := &cobra.Command{Use: "show", Short: "what the CA is for, how long, and its fingerprints (exit code 1: it cannot be used)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showCA(cmd, f) }}
	show.Flags().BoolVar(&f.json, "json", false, "print JSON")
	export := &cobra.Command{Use: "export", Short: "the certificates that clients must trust; never a key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return exportCA(cmd, f) }}
	export.Flags().StringVar(&f.format, "format", "pem", "pem or der")
	export.Flags().StringVar(&f.out, "out", "", "a file (default: standard output)")
	for _, sub := range []*cobra.Command{init, show, export} {
		configFlag(sub, &f.config)
	}
	c.AddCommand(init, show, export)
	return c
}

func initCA(cmd *cobra.Command, f caFlags) error {
	files, c, err := f.settings(cmd)
	if err != nil {
		return err
	}
	domains, err := f.choose(cmd, files, c)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "for these domains, each with every name below it:\n  %s\n", strings.Join(domains, "\n  "))
	if f.dry {
		fmt.Fprintln(out, "nothing was made; to choose others: gatehouse ca init --for DOMAIN,DOMAIN")
		return nil
	}
	o := ca.Options{Domains: domains, Name: f.name, Now: time.Now(), Life: time.Duration(f.years) * 365 * 24 * time.Hour}
	create := ca.Create
	if f.rotate {
		create = ca.Rotate
		if o.From, err = f.begins(o.Now, c.Timezone.Zone()); err != nil {
			return err
		}
	} else if f.from != "" {
		return errors.New("--from says when a successor begins to sign: it goes with --rotate")
	}
	a, err := create(c.CAFolder(), o)
	if errors.Is(err, ca.ErrExists) || errors.Is(err, ca.ErrMissing) {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
		return exit(exitNo)
	}
	if err != nil {
		return err
	}
	f.sayMade(out, a, c)
	return nil
}

// choose finds the domains: those that are named, or those that the rules call
// for.
func (f caFlags) choose(cmd *cobra.Command, files appliance.Files, c *appliance.Config) ([]string, error) {
	named, err := f.named()
	if err != nil {
		return nil, fmt.Errorf("--for: %w", err)
	}
	hosts, problems, err := c.Inspectable(files)
	if err != nil {
		return nil, err
	}
	switch {
	case len(named) > 0:
		missing(cmd.ErrOrStderr(), hosts, named)
		return named, nil
	case rules.HasErrors(problems):
		rules.Render(cmd.ErrOrStderr(), problems)
		return nil, fmt.Errorf("%s cannot be loaded; repair it, or name the domains by --for", files.RulesName())
	case len(hosts) == 0:
		return nil, fmt.Errorf("no rule of %s calls for a look inside TLS (methods, paths, types, uploads, upgrades or inspect on a tls port), so no CA is needed; if one is: gatehouse ca init --for DOMAIN", files.RulesName())
	}
	return rules.Domains(hosts), nil
}

// named are the domains of --for; none where there is no such flag.
func (f caFlags) named() ([]string, error) {
	if len(f.domains) == 0 {
		return nil, nil
	}
	named, err := ca.Domains(f.domains)
	if err != nil {
		return nil, err
	}
	for _, d := range named {
		if rules.PublicSuffix(d) {
			return nil, fmt.Errorf("anybody can register a name below %s; name your own domains", d)
		}
	}
	return named, nil
}

// missing warns of domains that the rules call for and that were not named.
func missing(stderr io.Writer, hosts []rules.Inspectable, named []string) {
	for _, d := range rules.Domains(hosts) {
		covered := false
		for _, n := range named {
			covered = covered || d == n || strings.HasSuffix(d, "."+n)
		}
		if !covered {
			fmt.Fprintf(stderr, "gatehouse: the rules call for %s, which --for leaves out: its hosts would be refused (GH047)\n", d)
		}
	}
}

// begins is when a successor begins to sign.
func (f caFlags) begins(now time.Time, zone *time.Location) (time.Time, error) {
	switch f.from {
	case "":
		return now.Add(14 * 24 * time.Hour), nil
	case "now":
		return now, nil
	}
	at, err := time.ParseInLocation(time.DateOnly, f.from, zone)
	if err != nil {
		return at, fmt.Errorf("--from: %q is no date; write it like 2027-01-15, or \"now\"", f.from)
	}
	if at.Before(now) {
		return at, fmt.Errorf("--from: %s is over; to let the successor sign at once write: --from now", f.from)
	}
	return at, nil
}

// sayMade tells where it is, and what is to be done with it.
func (f caFlags) sayMade(out io.Writer, a *ca.Authority, c *appliance.Config) {
	g := a.Present()
	for _, made := range a.Generations() {
		if made.Certificate.NotBefore.After(g.Certificate.NotBefore) {
			g = made
		}
	}
	fmt.Fprintf(out, "made %s (%s)\nits key stays in %s; whoever has it can pose as these domains to your machines\n",
		g.File, g.Certificate.Subject.CommonName, g.KeyFile())
	if g.Begins().After(time.Now()) {
		fmt.Fprintf(out, "it signs from %s on\n", g.Begins().In(c.Timezone.Zone()).Format("2006-01-02 15:04"))
	}
	fmt.Fprint(out, "next: gatehouse ca export, and have every client trust what it gives")
	if !c.Inspection.Enabled {
		fmt.Fprint(out, "; then, in gatehouse.toml:\n  [inspection]\n  enabled = true")
	}
	fmt.Fprintln(out)
}

// shown is one certificate of the CA as show tells it.
type shown struct {
	Subject  string    `json:"subject"`
	File     string    `json:"file"`
	State    string    `json:"state"` // "signs", "next" or "previous"
	Begins   time.Time `json:"signs_from"`
	Ends     time.Time `json:"not_after"`
	DaysLeft int       `json:"days_left"`
	Domains  []string  `json:"domains"`
	SHA256   string    `json:"sha256"`
	SHA1     string    `json:"sha1"`
	KeyMode  string    `json:"key_mode"`
}

func showCA(cmd *cobra.Command, f caFlags) error {
	a, c, err := f.authority(cmd)
	if err != nil {
		return err
	}
	list := describeCA(a, time.Now())
	if f.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Enabled      bool    `json:"enabled"`
			Certificates []shown `json:"certificates"`
		}{c.Inspection.Enabled, list})
	}
	out := cmd.OutOrStdout()
	for _, s := range list {
		fmt.Fprintf(out, "%s\n  file       %s\n  state      %s\n  signs      from %s to %s, %d days left\n  domains    %s\n  SHA-256    %s\n  SHA-1      %s\n  key mode   %s\n",
			s.Subject, s.File, s.words(), s.Begins.Format("2006-01-02 15:04 MST"), s.Ends.Format("2006-01-02 15:04 MST"), s.DaysLeft,
			strings.Join(s.Domains, ", "), s.SHA256, s.SHA1, s.KeyMode)
	}
	if !c.Inspection.Enabled {
		fmt.Fprintln(out, "inspection is off: [inspection] enabled = false")
	}
	return nil
}

// authority loads the CA of the configuration, and says so where it cannot be used.
func (f caFlags) authority(cmd *cobra.Command) (*ca.Authority, *appliance.Config, error) {
	_, c, err := f.settings(cmd)
	if err != nil {
		return nil, nil, err
	}
	a, err := ca.Load(c.CAFolder(), time.Now())
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
		return nil, nil, exit(exitNo)
	}
	return a, c, nil
}

func describeCA(a *ca.Authority, now time.Time) []shown {
	var list []shown
	for _, g := range a.Generations() {
		c := g.Certificate
		one, two := sha1.Sum(c.Raw), sha256.Sum256(c.Raw)
		s := shown{
			Subject: c.Subject.CommonName, File: g.File, State: "previous", Begins: g.Begins(), Ends: c.NotAfter,
			DaysLeft: int(c.NotAfter.Sub(now).Hours() / 24), Domains: g.Domains(),
			SHA256: fingerprint(two[:]), SHA1: fingerprint(one[:]), KeyMode: "the key is not there, and not needed any more",
		}
		switch {
		case c.Equal(a.Present().Certificate):
			s.State = "signs"
		case g.Begins().After(now):
			s.State = "next"
		}
		if info, err := os.Stat(g.KeyFile()); err == nil {
			s.KeyMode = fmt.Sprintf("%04o", info.Mode().Perm())
		}
		list = append(list, s)
	}
	return list
}

func (s shown) words() string {
	return map[string]string{
		"signs": "signs what clients see now", "next": "signs from its day on; clients must trust it by then",
		"previous": "signs no more; clients may trust it until it ends",
	}[s.State]
}

// fingerprint is a digest as Windows and OpenSSL print it.
func fingerprint(digest []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", digest), " ", ":")
}

func exportCA(cmd *cobra.Command, f caFlags) error {
	a, _, err := f.authority(cmd)
	if err != nil {
		return err
	}
	roots := a.Roots()
	switch {
	case f.format == "pem":
		return f.give(cmd, f.out, encode(roots))
	case f.format != "der":
		return fmt.Errorf("--format: %q is none of the formats: pem, der", f.format)
	case len(roots) == 1:
		return f.give(cmd, f.out, roots[0].Raw)
	case f.out == "":
		return fmt.Errorf("a rotation is under way and DER holds one certificate: name a file by --out, and its %d certificates go into files of that name", len(roots))
	}
	for i, r := range roots { // clients must trust all of them
		ext := filepath.Ext(f.out)
		if err := f.give(cmd, fmt.Sprintf("%s-%d%s", strings.TrimSuffix(f.out, ext), i+1, ext), r.Raw); err != nil {
			return err
		}
	}
	return nil
}

func encode(roots []*x509.Certificate) []byte {
	var text []byte
	for _, r := range roots {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Raw})...)
	}
	return text
}

// give writes to a new file, and says what is to be done with it, or to standard
// output.
func (f caFlags) give(cmd *cobra.Command, path string, text []byte) error {
	if path == "" {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not overwritten; name another file by --out", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), trustIt, path)
	return nil
}

// trustIt is how clients come to trust a certificate.
const trustIt = `wrote %[1]s; it holds no key and may be given to anybody. To have it trusted:
  Windows, by group policy   Computer Configuration > Policies > Windows Settings > Security Settings >
                             Public Key Policies > Trusted Root Certification Authorities > Import
  Windows, one machine       certutil -addstore -f Root %[1]s
  .NET                       takes Windows' machine store, as above
  Java                       keytool -importcert -noprompt -cacerts -storepass changeit -alias gatehouse -file %[1]s
Compare the fingerprint with: gatehouse ca show
`
