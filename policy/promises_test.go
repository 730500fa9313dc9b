package policy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// promises says which corpus file or test holds the code to each thing that
// the language promises about a decision. What is promised about files (errors,
// warnings, positions) is held to in package rules; what is promised about
// bytes (deadlines, held heads, DNS answers) where bytes are moved.
var promises = map[string][]string{
	"nothing is allowed but what is listed":                     {"TestNothingIsAllowedButWhatIsListed", "TestZeroRulesDoNotCompile"},
	"the order of rules never matters":                          {"the-order-of-the-steps", "TestTheOrderOfTheRulesNeverMatters"},
	"the steps, and the reason where none is left":              {"the-order-of-the-steps", "TestTheStepAtWhichTheLastAllowFellAwayIsTheReason"},
	"one rule must permit the whole passage":                    {"one-rule-for-the-whole-passage", "TestOneRuleMustPermitTheWholePassage"},
	"a DNS question carries every allow of client and name":     {"dns-knows-client-and-name"},
	"denies beat every allow":                                   {"a-deny-without-ports", "TestADenyAddedNeverPermits"},
	"a deny acts as soon as all it names is known":              {"a-deny-with-inner-clauses", "a-deny-of-uploads-and-upgrades"},
	"what a deny omits it does not restrict":                    {"a-deny-without-ports", "a-deny-of-clients-everywhere"},
	"a bare deny refuses name and alias":                        {"a-deny-without-ports", "aliases"},
	"a deny with addresses drops those addresses":               {"a-deny-with-addresses", "TestADenyReachesTheIPv4AddressInside"},
	"a deny with ports leaves the name alone":                   {"a-deny-with-ports", "a-host-in-two-ways"},
	"a deny with inner clauses refuses an unseen tunnel":        {"a-deny-with-inner-clauses", "a-deny-inside-inspected-tls"},
	"the defaults of an allow":                                  {"the-defaults-of-an-allow"},
	"who is a permitted client":                                 {"who-is-a-permitted-client", "TestALiveAllowMakesAPermittedClient"},
	"a deny makes nobody a permitted client":                    {"a-deny-of-clients-everywhere"},
	"an address in several groups belongs to each":              {"who-is-a-permitted-client"},
	"v4-mapped clients are unmapped":                            {"who-is-a-permitted-client", "TestMappedClientsAreTheirIPv4Selves"},
	"names, names below, stars within a label":                  {"hosts-and-stars", "FuzzHostPattern"},
	"a listed literal leads to itself":                          {"literals", "TestAListedLiteralLeadsToItself"},
	"a pasted URL gives the port of its host":                   {"a-host-in-two-ways"},
	"ports decide the protocol":                                 {"first-bytes-of-a-tunnel", "TestPortsDecideTheProtocol"},
	"an allow that says no protocol follows the other":          {"first-bytes-of-a-tunnel"},
	"udp is never relayed":                                      {"udp-is-never-relayed"},
	"an ordinary request fits http ports only":                  {"first-bytes-of-a-tunnel"},
	"a tls tunnel opens with the name of its host":              {"first-bytes-of-a-tunnel", "literals"},
	"an http tunnel is judged request by request":               {"a-deny-with-inner-clauses", "first-bytes-of-a-tunnel"},
	"a tcp port is relayed as it is":                            {"first-bytes-of-a-tunnel"},
	"never beats always beats when-needed":                      {"when-tls-is-looked-into", "TestInspection"},
	"where TLS is not looked into the outer clauses stand":      {"without-inspection"},
	"clauses that are not enforced are named":                   {"TestWhatCannotBeCheckedIsNamed"},
	"GET implies no other method":                               {"methods-imply-no-other"},
	"how paths are compared":                                    {"paths-are-normalized", "the-end-of-a-path", "TestPathsAreComparedWithoutCase", "FuzzGlob"},
	"odd paths are bad requests where a rule speaks of paths":   {"odd-paths", "the-end-of-a-path"},
	"a binding glob holds whichever rule allowed the request":   {"binding-globs-agree"},
	"the same glob adds up":                                     {"the-same-glob-adds-up"},
	"different globs must each agree":                           {"binding-globs-agree"},
	"where no glob binds one of lists and stars is enough":      {"stars-in-types"},
	"a table without a star permits no other path":              {"stars-in-types"},
	"a missing type is not listed, unless any is":               {"stars-in-types", "TestTwoContentTypesDeclareNone"},
	"when a types clause is in force, and what it then refuses": {"first-bytes-of-an-answer"},
	"a head is held only where a types clause is in force":      {"TestAHeadIsHeldOnlyWhereATypesClauseIsInForce", "TestAHeadIsHeldWhereAFamilyCouldRefuse"},
	"what may be sent":                                          {"uploads"},
	"the default of upgrades":                                   {"upgrades", "TestUpgrades"},
	"public, private, a CIDR, a tag, a region":                  {"public-private-and-never", "tags-and-regions", "TestWhereANameMayLead"},
	"where nothing leads, whatever a rule says":                 {"public-private-and-never"},
	"treat_as_public makes public, never part of a tag":         {"treat-as-public"},
	"an IPv4 address inside must pass too":                      {"treat-as-public", "public-private-and-never"},
	"each address is judged alone":                              {"a-deny-with-addresses"},
	"aliases: listed ones, none, any":                           {"aliases", "TestAliases"},
	"the last day of a rule, and of a deny":                     {"expired", "a-deny-of-uploads-and-upgrades"},
	"open passages end with the rule that carried them":         {"TestReviewAsksTheWholePassageAgain"},
	"monitor lets pass what only the rules refuse":              {"monitor"},
	"monitor still refuses the rest":                            {"monitor", "TestMonitorModeLetsPassWhatOnlyTheRulesRefuse"},
	"tests ask in enforce mode and as if inspected":             {"monitor", "without-inspection", "when-tls-is-looked-into"},
	"no-policy comes first, then the stranger":                  {"TestNothingIsAllowedButWhatIsListed", "who-is-a-permitted-client"},
	"a deny is the reason before the step is":                   {"which-deny-is-named"},
	"expired where a rule past its day got further":             {"expired", "TestExpiredWhereARulePastItsDayGotFurther"},
	"no address left: denied-by-rule or address-not-allowed":    {"a-deny-with-addresses", "TestADenyOfAddressesIsTheReasonOnlyForWhatAnAllowWouldHaveTaken"},
	"client-not-listed where the host is listed for others":     {"a-host-listed-for-others"},
	"canary names and other DNS types":                          {"dns-knows-client-and-name", "monitor", "TestQueryTypesAndCanaries"},
	"rule names are told only to clients they name":             {"TestRuleNamesAreToldOnlyToClientsTheyName"},
	"packs side by side lose nothing":                           {"packs-side-by-side"},
	"explain and enforcement are one":                           {"TestExplainAndDecideAgree", "TestCorpus"},
}

// TestEveryPromiseIsHeldTo finds the files and tests that the table names, and
// no corpus file that it does not.
func TestEveryPromiseIsHeldTo(t *testing.T) {
	known := testNames(t)
	named := map[string]bool{}
	for promise, by := range promises {
		require.NotEmpty(t, by, promise)
		for _, name := range by {
			require.Contains(t, known, name, promise)
			named[name] = true
		}
	}
	for name, corpus := range known {
		if corpus {
			require.True(t, named[name], "corpus file %s holds to no promise", name)
		}
	}
}

// testNames are the corpus files (true) and the tests of this package.
func testNames(t *testing.T) map[string]bool {
	known := map[string]bool{}
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	require.NoError(t, err)
	for _, f := range files {
		known[strings.TrimSuffix(filepath.Base(f), ".txtar")] = true
	}
	files, err = filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = false
		}
	}
	return known
}
