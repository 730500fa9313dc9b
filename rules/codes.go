package rules

// Code is one kind of problem. Its ID never changes meaning.
type Code struct {
	ID    string
	Level Level
	// Title is what the code stands for, in a few words.
	Title string
	// Why is the reason that every problem of the code carries.
	Why string
}

// Codes lists every code in the order of its ID.
func Codes() []Code {
	all := make([]Code, len(codes))
	for i, c := range codes {
		all[i] = *c
	}
	return all
}

var codes []*Code

func code(id string, level Level, title, why string) *Code {
	c := &Code{id, level, title, why}
	codes = append(codes, c)
	return c
}

// The errors: a file with one of them is not loaded.
var (
	codeSyntax       = code("GH001", Error, "not TOML", "what is not TOML says nothing; the rest of the file is checked as far as it can be read without it")
	codeEncoding     = code("GH002", Error, "not saved as UTF-8", "the file is read as UTF-8, with or without a byte order mark")
	codeQuotes       = code("GH003", Error, "typographic quotes", "only the plain quotes \" and ' begin and end a text")
	codeUnknownKey   = code("GH004", Error, "unknown key", "a key that nothing reads would look like a rule and be none")
	codeUnknownTable = code("GH005", Error, "unknown table", "a table that nothing reads would look like a rule and be none")
	codeMisplaced    = code("GH006", Error, "a key of the whole file below a table", "in TOML every key belongs to the table above it, until the next [ line")
	codeType         = code("GH007", Error, "wrong type of value", "the value would have to be guessed")
	codeMissing      = code("GH008", Error, "a required key is missing", "without it the table says nothing")
	codeEmpty        = code("GH009", Error, "an empty list", "an empty list could be read as \"nothing\" or as \"everything\"; write what you mean, or leave the key out")
	codeValue        = code("GH010", Error, "a value the key does not have", "the key takes only the values named")
	codeHost         = code("GH011", Error, "bad host", "a host is a name like www.example.org, a pattern like *.example.org, or an IP address")
	codeHostPath     = code("GH012", Error, "host has a path", "a host rule matches names; the path cannot be seen inside https")
	codeHostPorts    = code("GH013", Error, "a pasted URL beside ports", "the URL says a port and so does ports: which one is meant?")
	codeHostWide     = code("GH014", Error, "a host pattern that permits strangers", "anybody can register a name that this pattern would permit")
	codePort         = code("GH015", Error, "bad port", "a port is a number from 1 to 65535, a range is written \"8443-8444\"")
	codeAddress      = code("GH016", Error, "bad address or network", "an address is written 10.20.0.5, a network 10.20.0.0/16")
	codeDate         = code("GH017", Error, "bad date", "03/04/2027 means two different days in two countries, so dates are written year-month-day")
	codeMethod       = code("GH018", Error, "bad method", "methods are compared letter by letter, and HTTP writes them in capitals")
	codeMediaType    = code("GH019", Error, "bad media type", "a media type is written type/subtype, like text/plain, without wildcards")
	codeGlob         = code("GH020", Error, "bad path pattern", "a path begins with \"/\"; a star stands for any run of characters, slashes too")
	codeName         = code("GH021", Error, "bad name", "names stand in logs and metrics: letters, digits and . _ / -, at most 64 characters")
	codeDuplicate    = code("GH022", Error, "a name used twice", "refusals, logs and tests tell rules apart by their names")
	codeClient       = code("GH023", Error, "unknown client group", "a rule for a group that does not exist would be a rule for nobody")
	codePack         = code("GH024", Error, "unknown pack", "only the built-in packs can be named; \"gatehouse packs\" lists them")
	codePackTwice    = code("GH025", Error, "a pack named twice", "name it once and list all its clients there")
	codeWithout      = code("GH026", Error, "unknown rule in without", "leaving out a rule that does not exist changes nothing")
	codeTag          = code("GH027", Error, "unknown service tag", "the name must be, letter for letter, one of the service-tag file; a tag that is not there holds no address")
	codeParent       = code("GH028", Error, "unknown parent proxy", "a parent is named in an [[upstream]] table of gatehouse.toml")
	codeVersion      = code("GH029", Error, "no version, or one this gatehouse does not read", "the version says which language the file is written in")
	codeNoRule       = code("GH030", Error, "no rule at all", "a file without rules would refuse everything; an empty file is more likely an accident")
	codeDenyNothing  = code("GH031", Error, "a deny that names nothing", "a deny needs clients, hosts or addresses; without them it would refuse everything to everybody")
	codeDenyKey      = code("GH032", Error, "a key that a deny does not have", "a deny has nothing to permit, so it has none of the keys that say how")
	codeProtocols    = code("GH033", Error, "rules that disagree about the protocol", "one port of one host carries one protocol")
	codeVias         = code("GH034", Error, "rules that disagree about via", "one connection passes the gateway in one way")
	codeParents      = code("GH035", Error, "rules that disagree about the parent", "one connection is carried by one parent proxy")
	codeInspects     = code("GH036", Error, "inspect never and always for one host", "a connection is looked into or not")
	codeNever        = code("GH037", Error, "inspect always for a host that is never inspected", "the makers of these services end every connection that is looked into")
	codeInnerTCP     = code("GH038", Error, "an inner clause on a tcp port", "on a tcp port the gate relays bytes and sees neither requests nor types")
	codeForwardInner = code("GH039", Error, "an inner clause with via forward", "what the firewall forwards, the gate does not see")
	codeUDP          = code("GH040", Error, "udp without via forward", "the gate relays TCP; udp can only be let through the firewall")
	codeNeverMatches = code("GH041", Error, "an allow that can never match", "a rule that permits nothing hides that something is missing")
	codeTestFails    = code("GH042", Error, "a test that fails", "the rules do not do what the file says they should")
	codeTestForm     = code("GH043", Error, "a test that cannot be read", "a test is \"METHOD URL [<- upload type] [-> response type]\", \"CONNECT host:port\", \"DNS name [type] [= address]\" or \"PUBLISH name [METHOD] /path\"")
	codeMisspelt     = code("GH044", Error, "the misspelt Service Bus name", "the vendor's page has this slip of the pen; the name is not Microsoft's, and whoever registers it would receive the school's data")
	codeUnmade       = code("GH045", Error, "the rules could not be compiled", "what is not understood is not loaded")
	codeGlobs        = code("GH046", Error, "too many patterns below one name", "each pattern with a star inside a label is held against every name below it; that many make every question slow")
	codeUnvouched    = code("GH047", Error, "a host that the inspection CA is not made for", "clients believe the CA only about the domains it was made for, so the gate would have to refuse the host")
	codeLogins       = code("GH048", Error, "a password file that cannot be used", "a group that must log in and cannot would be refused everything; passwords are kept as bcrypt, for what else there is can be guessed too fast")
	codeDoor         = code("GH049", Error, "a listener that is taken", "two cannot listen at one address")
	codeLedBack      = code("GH050", Error, "a publish that leads where nothing may lead", "what comes in would come back, or reach this machine's own services, which are not the school's server")
)

// The warnings: a file with them may be loaded.
var (
	codeLookAlike    = code("GH101", Warning, "a host one letter from another", "a mistyped host is refused at best; at worst it belongs to somebody else")
	codeUnenforced   = code("GH102", Warning, "a clause that will not be enforced", "the inside of https can be checked only where TLS is inspected; client, host, port, server name and address are enforced all the same")
	codeExpired      = code("GH103", Warning, "past its day", "what has a last day does nothing after it")
	codeExpiring     = code("GH104", Warning, "near its day", "when the day has passed, the passages that the rule carries end")
	codeShadowed     = code("GH105", Warning, "an allow shadowed by a deny", "a deny beats every allow")
	codeIdleDeny     = code("GH106", Warning, "a deny that meets no allow", "what no rule allows is refused anyway; perhaps the name is mistyped")
	codeSharedSuffix = code("GH107", Warning, "a wildcard over names of strangers", "anybody can rent a name below this suffix")
	codeApex         = code("GH108", Warning, "*.x where x was probably meant too", "\"*.x\" is every name below x, and not x itself")
	codeNoEnd        = code("GH109", Warning, "monitor mode without an end", "a trial that nobody ends stays a trial")
	codeMonitor      = code("GH110", Warning, "monitor mode", "what the rules would refuse is let through and only written down")
	codeDenyEnds     = code("GH111", Warning, "a deny that ends", "after its day the deny no longer refuses anything")
	codeDenyTunnel   = code("GH112", Warning, "a deny that refuses whole tunnels", "what cannot be seen inside TLS cannot be told apart, so the whole tunnel is refused")
	codeDisagree     = code("GH113", Warning, "type patterns that cannot agree", "different patterns that name one path must each agree to its type")
	// GH114 said, in earlier versions, what they did not carry.
	codeTestFailsNow = code("GH115", Warning, "a test that fails, in a file that has not changed", "the file was in force before: the world has changed, not the file")
	codeTestInspect  = code("GH116", Warning, "a test that holds only with inspection", "without inspection the gate cannot see what the test asks about")
	codeNoPath       = code("GH117", Warning, "types that name none of the rule's paths", "a path must fit both; such a rule only binds the types of other rules of the host")
	codeExample      = code("GH118", Warning, "an address that no machine has", "the address is set aside for examples in documents; put your own machine's in its place")
	codeUnvouchedNow = code("GH119", Warning, "a host that the inspection CA is not made for, in a file that has not changed", "the file was in force before: the CA has changed, not the file; until that is mended the gate refuses the host")
	codeCertificate  = code("GH120", Warning, "a certificate that cannot be used", "until it can be, this publish is not served; everything else is")
	codeOutward      = code("GH121", Warning, "a publish that opens a way out", "whoever a publish names is a permitted client; a rule without clients is for all of those, and in monitor mode whatever they ask for passes. Name the clients in the rules, and enforce them")
)

func codeByID(id string) *Code {
	for _, c := range codes {
		if c.ID == id {
			return c
		}
	}
	return codeUnmade
}
