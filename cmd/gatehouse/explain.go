package main

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
	"gatehouse/policy"
	"gatehouse/rules"
)

type explainFlags struct {
	fileFlags
	client, method, mediaType, upload string
	json                              bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain TARGET",
		Short: "say what the rules decide about a passage, and why",
		Long: `explain asks the rules what they decide about one passage, and tells the steps,
the rule that came nearest and what would have to change. TARGET is one of

  URL                       an HTTP request, GET unless --method says otherwise
  METHOD URL [<- upload type] [-> response type]
  CONNECT host:port         a tunnel
  DNS name [type] [= addr]  a name, and where it leads
  PUBLISH name [METHOD] /path [<- upload type] [-> response type]
                            a request to a [[publish]]
  GH-XXXXXXXX               a decision of the running gate, by its id

What is not stated is not judged. Exit code: 0 allowed, 1 denied, 2 error.`,
		Example: "  gatehouse explain https://dashboard.groupcall.com/\n" +
			"  gatehouse explain --client 10.20.0.5 CONNECT emergeen.servicebus.windows.net:9352\n" +
			"  gatehouse explain 'DNS emergeen.servicebus.windows.net = 13.74.107.71'",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return explain(cmd, f, strings.Join(args, " ")) },
	}
	f.flags(c)
	c.Flags().StringVar(&f.client, "client", "", "who asks, an IP address (default 127.0.0.1)")
	c.Flags().StringVar(&f.method, "method", "", "the HTTP method")
	c.Flags().StringVar(&f.mediaType, "type", "", "the media type that comes back")
	c.Flags().StringVar(&f.upload, "upload", "", "the media type of the request's body")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

var decisionID = regexp.MustCompile(`(?i)^GH-[0-9A-HJKMNP-TV-Z]{8}$`)

func explain(cmd *cobra.Command, f explainFlags, target string) error {
	var a appliance.Account
	var err error
	if decisionID.MatchString(target) {
		var control *appliance.Control
		if control, err = connect(cmd, f.config); err == nil {
			a, err = control.Decision(cmd.Context(), target)
		}
	} else {
		a, err = judge(cmd, f, target)
	}
	if err != nil {
		return err
	}
	if err := printAccount(cmd, f.json, a); err != nil {
		return err
	}
	if !a.Allowed() {
		return exit(exitNo)
	}
	return nil
}

func printAccount(cmd *cobra.Command, asJSON bool, a appliance.Account) error {
	if !asJSON {
		_, err := fmt.Fprint(cmd.OutOrStdout(), a)
		return err
	}
	return printJSON(cmd, a)
}

// judge asks the rules file, without any running gate.
func judge(cmd *cobra.Command, f explainFlags, target string) (appliance.Account, error) {
	var none appliance.Account
	c, err := rules.ParseTarget(target)
	if err != nil {
		return none, fmt.Errorf("%w; see: gatehouse explain --help", err)
	}
	notes, err := f.complete(&c)
	if err != nil {
		return none, err
	}
	h, err := f.load(cmd)
	if err != nil {
		return none, err
	}
	if c.Kind == policy.CasePublish {
		note, err := ledTo(h.loaded, c.Publish)
		if err != nil {
			return none, err
		}
		notes = append(notes, note)
	} else if note := relayNote(cmd.Context(), h.config.State.Dir, c.Dest.Host.Name()); note != "" {
		notes = append(notes, note)
	}
	explained := h.loaded.Policy.Explain(c)
	a := appliance.NewAccount(target, explained)
	if text, err := h.files.ReadRules(); err == nil && h.files.Rules != "" {
		if p, ok := rules.Propose(h.files.RulesName(), text, c, explained); ok {
			a.Proposal = &p
		}
	}
	a.Notes = append(a.Notes, append(notes, fmt.Sprintf("by the rules of %s, and the settings of %s", h.files.RulesName(), h.files.ConfigName()))...)
	return a, nil
}

// ledTo says which server is behind a publish.
func ledTo(loaded *rules.Loaded, name string) (string, error) {
	pub := loaded.Policy.Publication(name)
	switch {
	case pub == nil:
		return "", fmt.Errorf("no [[publish]] is called %q; see: gatehouse review", name)
	case pub.To.Host.IsIP():
		return "it leads to " + pub.To.String(), nil
	}
	return "it leads to " + pub.To.String() + "; where the name leads is not judged: explain asks no DNS server", nil
}

// complete adds what the flags say to the case, and says what was assumed.
func (f explainFlags) complete(c *policy.Case) (notes []string, err error) {
	c.At = time.Now()
	if f.client == "" {
		notes = append(notes, "client 127.0.0.1 is assumed; name another by --client")
		f.client = "127.0.0.1"
	}
	if c.Client, err = netip.ParseAddr(f.client); err != nil {
		return nil, fmt.Errorf("--client: %q is no IP address; write one like 10.20.0.5", f.client)
	}
	if f.method+f.mediaType+f.upload != "" && c.Kind != policy.CaseRequest && c.Kind != policy.CasePublish {
		return nil, errors.New("--method, --type and --upload speak of a request; name a URL or a publish with them")
	}
	if f.method != "" {
		c.Method = strings.ToUpper(f.method)
	}
	for _, m := range []struct {
		flag, value string
		stated      *bool
		into        *policy.MediaType
	}{
		{"--type", f.mediaType, &c.TypeStated, &c.Type}, {"--upload", f.upload, &c.UploadStated, &c.Upload},
	} {
		if m.value == "" {
			continue
		}
		if *m.into, err = policy.ParseMediaType(m.value); err != nil {
			return nil, fmt.Errorf("%s: %q %w; write it like text/plain", m.flag, m.value, err)
		}
		*m.stated = true
	}
	if !c.Addr.IsValid() && !c.Dest.Host.IsIP() && c.Kind != policy.CasePublish {
		notes = append(notes, "where the name leads is not judged: explain asks no DNS server")
	}
	return notes, nil
}
