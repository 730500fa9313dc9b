package servicetags

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMembershipIsWhatTheBuiltInCopySays(t *testing.T) {
	in, err := os.Open("testdata/membership.tsv")
	require.NoError(t, err)
	defer in.Close()
	rows := 0 // a line without a tab is a remark
	for lines := bufio.NewScanner(in); lines.Scan(); {
		addr, tags, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			continue
		}
		rows++
		require.Equal(t, strings.Fields(tags), append([]string{}, Builtin().Lookup(netip.MustParseAddr(addr))...), addr)
	}
	require.Equal(t, 16, rows)
}

func TestBuiltinIsDatedAndComplete(t *testing.T) {
	f := Builtin()
	require.Equal(t, 375, f.ChangeNumber)
	require.Equal(t, "2025-11-06", f.Date.Format(time.DateOnly))
	require.Len(t, f.Names(), 15)
	for tag, n := range map[string]int{"ServiceBus.NorthEurope": 15, "AzureCloud.northeurope": 388, "ServiceBus": 707} {
		list, ok := f.Prefixes(tag)
		require.True(t, ok, tag)
		require.Len(t, list, n, tag)
	}
}

// What is said of the copy before it is read is what it says.
func TestBuiltinSaysWhatItHolds(t *testing.T) {
	f, err := Parse(bytes.NewReader(builtinText), builtinName)
	require.NoError(t, err)
	require.Equal(t, builtinNumber, f.ChangeNumber)
	require.Equal(t, f.tags, Builtin().all())
}

func TestTagsAreComparedWholeAndWithoutCase(t *testing.T) {
	f := Builtin()
	upper, ok := f.Prefixes("AZURECLOUD.NORTHEUROPE")
	require.True(t, ok)
	require.Len(t, upper, 388)
	lookalike, ok := f.Prefixes("AzureCloud.northeurope2")
	require.True(t, ok)
	require.Len(t, lookalike, 10)
	for _, name := range []string{"AzureCloud.northeurop", "northeurope", "AzureCloud.", "", " ServiceBus"} {
		_, ok := f.Prefixes(name)
		require.False(t, ok, name)
	}
}

func TestANilFileKnowsNothing(t *testing.T) {
	var f *File
	_, ok := f.Prefixes("ServiceBus")
	require.False(t, ok)
	require.Empty(t, f.Names())
	require.Empty(t, f.Lookup(netip.MustParseAddr("13.74.107.71")))
}

func TestLegacyXMLGivesTheRegionsTheirPresentNames(t *testing.T) {
	f, err := LoadPath("testdata/PublicIPs_20200824.xml")
	require.NoError(t, err)
	require.Equal(t, []string{"AzureCloud.eastus", "AzureCloud.northeurope", "AzureCloud.westeurope"}, f.Names())
	require.Equal(t, "2020-08-24", f.Date.Format(time.DateOnly))
	require.Zero(t, f.ChangeNumber)
	for region, n := range map[string]int{"northeurope": 207, "westeurope": 195, "eastus": 163} {
		list, _ := f.Prefixes("AzureCloud." + region)
		require.Len(t, list, n, region)
	}
}

const small = `{"changeNumber": 7, "cloud": "Public", "values": [
 {"name": "ServiceBus.NorthEurope", "properties": {"region": "northeurope", "addressPrefixes": ["13.69.227.64/29", "2603:1020:5:402::170/125"]}}]}`

func TestParseAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"a plain list":                   small,
		"a byte order mark":              "\ufeff" + small,
		"white space in front":           "\r\n\t " + small,
		"CRLF line ends":                 strings.ReplaceAll(small, "\n", "\r\n"),
		"members it does not know":       strings.Replace(small, `"cloud"`, `"later": {"a": [1, {}]}, "cloud"`, 1),
		"networkFeatures being null":     strings.Replace(small, `"region"`, `"networkFeatures": null, "region"`, 1),
		"white space behind the list":    small + "\r\n",
		"the change number after values": strings.Replace(small, `"changeNumber": 7, `, "", 1)[:len(small)-len(`"changeNumber": 7, `)-1] + `, "changeNumber": 7}`,
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(strings.NewReader(text), "ServiceTags_Public_20251103.json")
			require.NoError(t, err)
			require.Equal(t, 7, f.ChangeNumber)
			require.Equal(t, "2025-11-03", f.Date.Format(time.DateOnly))
			require.Equal(t, []string{"ServiceBus.NorthEurope"}, f.Names())
		})
	}
}

func TestParseRefusesAndSaysWhere(t *testing.T) {
	with := func(old, replacement string) string { return strings.Replace(small, old, replacement, 1) }
	for name, c := range map[string]struct{ text, says string }{
		"an empty file":                {"", "is empty"},
		"a web page":                   {"<!doctype html><html><head>", "not with <AzurePublicIpAddresses>"},
		"something else":               {"PK\x03\x04", "neither a ServiceTags JSON"},
		"a list cut off in the middle": {small[:120], "ends in the middle"},
		"a list without tags":          {`{"values": []}`, "no tag"},
		"values that are no list":      {`{"values": {"a": 1}}`, `"values" is not a list`},
		"a range that is none":         {with("13.69.227.64/29", "13.69.227.64"), `"13.69.227.64" is not an address range`},
		"a range with host bits":       {with("13.69.227.64/29", "13.69.227.65/29"), "bits set beyond its length"},
		"the whole internet":           {with("13.69.227.64/29", "0.0.0.0/0"), "far larger"},
		"all of IPv6":                  {with("13.69.227.64/29", "::/0"), "far larger"},
		"an IPv4 range in IPv6":        {with("13.69.227.64/29", "::ffff:13.69.0.0/112"), "dressed as IPv6"},
		"a tag without a name":         {with("ServiceBus.NorthEurope", ""), "a tag without a name"},
		"a tag that is there twice":    {with("}}]", `}}, {"name": "servicebus.northeurope"}]`), "is there twice"},
		"two lists in one file":        {small + small, "something follows"},
		"a wrong type":                 {with("7", `"7"`), "cannot unmarshal string"},
		"legacy XML cut off":           {"<AzurePublicIpAddresses><Region Name=\"europenorth\">", "XML syntax error"},
		"legacy XML with a bad range":  {`<AzurePublicIpAddresses><Region Name="europenorth"><IpRange Subnet="x"/></Region></AzurePublicIpAddresses>`, "not an address range"},
		"legacy XML without a name":    {`<AzurePublicIpAddresses><Region><IpRange Subnet="13.69.0.0/17"/></Region></AzurePublicIpAddresses>`, "without a name"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(strings.NewReader(c.text), "tags.json")
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "tags.json: at byte ")
			require.Nil(t, f)
		})
	}
}

func TestTheOffsetPointsAtTheTagThatIsWrong(t *testing.T) {
	text := "\ufeff" + strings.Replace(small, "13.69.227.64/29", "nonsense", 1)
	_, err := Parse(strings.NewReader(text), "tags.json")
	require.ErrorContains(t, err, "tags.json: at byte 191: ")
	require.True(t, strings.HasPrefix(text[191:], "]}"), "the tag ends there")
}

func TestAReadErrorIsPassedOn(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := Parse(io.MultiReader(strings.NewReader(small[:80]), failing{broken}), "tags.json")
	require.ErrorIs(t, err, broken)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAFileBeyondTheLimitIsNotReadAsIfItEndedThere(t *testing.T) {
	for what, r := range map[string]io.Reader{
		"in the middle":  io.MultiReader(strings.NewReader(small[:len(small)-1]), spaces{}),
		"behind the end": io.MultiReader(strings.NewReader(small), spaces{}),
	} {
		_, err := parse(&bounded{r: r, left: 4096}, "tags.json")
		require.ErrorIs(t, err, errTooLarge, what)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestOfAFolderTheNewestFileWins(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, number string) {
		text := strings.Replace(small, "7", number, 1)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	_, err := LoadPath(dir)
	require.ErrorContains(t, err, "no ServiceTags_Public_*.json in "+dir)

	xml, err := os.ReadFile("testdata/PublicIPs_20200824.xml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "PublicIPs_20300101.xml"), xml, 0o600))
	f, err := LoadPath(dir)
	require.NoError(t, err)
	require.Contains(t, f.Names(), "AzureCloud.northeurope")

	put("ServiceTags_Public_20251103.json", "375")
	put("ServiceTags_Public_20250901.json", "360")
	put("notes.json", "999")
	f, err = LoadPath(dir)
	require.NoError(t, err)
	require.Equal(t, 375, f.ChangeNumber)
	require.Equal(t, filepath.Join(dir, "ServiceTags_Public_20251103.json"), f.Name)
}

func TestAPipeAmongTheFilesHoldsUpNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ServiceTags_Public_20261101.json")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	for _, at := range []string{path, filepath.Dir(path)} {
		_, err := LoadPath(at)
		require.ErrorContains(t, err, path+" is no regular file")
	}
}

func TestLoadPathNamesWhatIsMissing(t *testing.T) {
	_, err := LoadPath("testdata/not-there.json")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("\ufeff" + small))
	f.Add([]byte(`<AzurePublicIpAddresses><Region Name="europenorth"><IpRange Subnet="13.69.128.0/17"/></Region></AzurePublicIpAddresses>`))
	f.Add([]byte(`{"values":[{"name":"a","properties":null}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(strings.NewReader(string(text)), "fuzz")
		if err != nil {
			require.Nil(t, file)
			return
		}
		require.NotEmpty(t, file.Names())
		for _, name := range file.Names() {
			list, ok := file.Prefixes(name)
			require.True(t, ok, name)
			for _, p := range list {
				require.Equal(t, p.Masked(), p)
				require.GreaterOrEqual(t, p.Bits(), shortestIPv4)
			}
		}
	})
}
