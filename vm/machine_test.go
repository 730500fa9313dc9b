package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bench is a machine in a folder, whose commands are written down.
type bench struct {
	*Machine
	dir  string
	seed map[string][]byte
	fail map[string]error // by the beginning of a command
	log  bytes.Buffer

	labels map[string]string // of disks

	mu   sync.Mutex
	runs []string
	fed  map[string]string // what each command read
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"data/etc", "run", "proc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	b := &bench{dir: dir, fail: map[string]error{}, fed: map[string]string{}}
	b.Machine = &Machine{
		Settings: filepath.Join(dir, "data/machine.yaml"), Gate: filepath.Join(dir, "data/etc"), Run: filepath.Join(dir, "run"),
		Network: filepath.Join(dir, "network"), Time: filepath.Join(dir, "time"), Forward: []string{filepath.Join(dir, "proc/forward")},
		Seed: func(context.Context) (map[string][]byte, error) { return b.seed, nil },
		Own:  func(string, bool) error { return nil }, Command: b.command,
		Rename:    func(string) error { return nil },
		Addresses: func(string) []string { return []string{"10.20.0.1/24"} },
		Now:       func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }, Log: &b.log,
	}
	return b
}

func (b *bench) command(_ context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs = append(b.runs, line)
	if stdin != nil {
		text, _ := io.ReadAll(stdin)
		b.fed[line] = string(text)
	}
	for begin, err := range b.fail {
		if strings.HasPrefix(line, begin) {
			return "", err
		}
	}
	switch {
	case name == "blkid":
		return b.blkid()
	case strings.HasPrefix(line, "gatehouse nft"):
		return "the gate's ruleset", nil
	case strings.HasPrefix(line, "systemctl is-active"):
		return "active\n", nil
	}
	return "", nil
}

// blkid lists the labels as "-o export" does; 2 is "nothing found".
func (b *bench) blkid() (string, error) {
	if len(b.labels) == 0 {
		return "", errors.New("exit status 2")
	}
	var blocks []string
	for label, disk := range b.labels {
		blocks = append(blocks, "DEVNAME="+disk+"\nLABEL="+label+"\n")
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "\n"), nil
}

// ran are the commands of a name.
func (b *bench) ran(name string) (list []string) {
	for _, line := range b.runs {
		if strings.HasPrefix(line, name+" ") {
			list = append(list, line)
		}
	}
	return list
}

func (b *bench) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	require.NoError(t, err)
	return string(text)
}

func (b *bench) sow(t *testing.T, name string) {
	t.Helper()
	files, err := readSeed(filepath.Join("testdata/seed", name))
	require.NoError(t, err)
	b.seed = files
}

func TestAMachineThatWasToldNothingAsksDHCPAndLetsNobodyIn(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.Apply(t.Context()))
	require.Contains(t, b.read(t, "network/10-gatehouse-eth0.network"), "DHCP=yes")
	require.Contains(t, b.read(t, "data/etc/web.yml"), "admin: $2")
	require.NoFileExists(t, b.Settings)
	require.Equal(t, "0\n", b.read(t, "proc/forward"))
	require.False(t, b.status(t.Context()).Told)
}

func TestASeedIsTakenOnceAndWhatTheScreenSaysLaterStays(t *testing.T) {
	b := newBench(t)
	b.sow(t, "netplan")
	require.NoError(t, b.Apply(t.Context()))
	require.Contains(t, b.read(t, "network/10-gatehouse-eth0.network"), "Address=10.20.0.1/24\n")
	require.Equal(t, "[Time]\nNTP=10.20.0.10\n", b.read(t, "time/10-gatehouse-servers.conf"))
	require.Equal(t, "TZ=Europe/London\n", b.read(t, "run/environment"))
	require.Equal(t, "version = 1\n", b.read(t, "data/etc/rules.toml"))
	require.Contains(t, b.log.String(), "seed: not done here: packages")
	require.NotContains(t, b.read(t, "data/machine.yaml"), "correct horse", "a password is kept as its hash")

	s, _, err := loadSettings(b.Settings)
	require.NoError(t, err)
	s.Hostname, s.NTP = "renamed", nil
	require.NoError(t, s.save(b.Settings))
	require.NoError(t, os.WriteFile(filepath.Join(b.Gate, "rules.toml"), []byte("edited"), 0o600))
	require.NoError(t, b.Apply(t.Context()))
	require.Equal(t, "edited", b.read(t, "data/etc/rules.toml"))
	require.NoFileExists(t, filepath.Join(b.dir, "time/10-gatehouse-servers.conf"))

	b.seed["meta-data"] = []byte("instance-id: gate-2\n")
	require.NoError(t, b.Apply(t.Context()))
	s, _, err = loadSettings(b.Settings)
	require.NoError(t, err)
	require.Equal(t, "gate", s.Hostname, "another instance-id is another seed")
	require.Equal(t, "version = 1\n", b.read(t, "data/etc/rules.toml"))
}

func TestASeedThatCannotBeReadChangesNothingAndIsTold(t *testing.T) {
	b := newBench(t)
	b.seed = map[string][]byte{"meta-data": []byte("instance-id: one\n"), "user-data": []byte("#!/bin/sh\n")}
	require.NoError(t, b.Apply(t.Context()))
	require.NoFileExists(t, b.Settings)
	require.Contains(t, b.status(t.Context()).String(), `TROUBLE     seed: user-data: only "#cloud-config" is understood`)
}

func TestTheFirewallStandsBeforeTheNetworkIsDescribed(t *testing.T) {
	t.Run("the gate's own", func(t *testing.T) {
		b := newBench(t)
		require.NoError(t, b.Apply(t.Context()))
		require.Equal(t, "the gate's ruleset", b.fed["nft -f -"])
	})
	t.Run("a closed one, where the gate's settings have errors", func(t *testing.T) {
		b := newBench(t)
		b.fail["gatehouse nft"] = errors.New("gatehouse.toml:3:1: unknown key")
		require.NoError(t, b.Apply(t.Context()))
		require.Equal(t, closed, b.fed["nft -f -"])
		require.Contains(t, b.status(t.Context()).String(), "TROUBLE     firewall: gatehouse.toml:3:1: unknown key")
	})
	t.Run("no network, where there is none", func(t *testing.T) {
		b := newBench(t)
		b.fail["nft -f"] = errors.New("no nf_tables in this kernel")
		require.ErrorContains(t, b.Apply(t.Context()), "no nf_tables in this kernel")
		require.NoDirExists(t, b.Network)
		require.NoFileExists(t, b.Forward[0])
	})
	t.Run("routing comes after it, with two adapters only", func(t *testing.T) {
		b := newBench(t)
		s := unset()
		s.Adapters["eth1"] = Adapter{DHCP: true}
		require.NoError(t, s.save(b.Settings))
		require.NoError(t, b.Apply(t.Context()))
		require.Equal(t, "1\n", b.read(t, "proc/forward"))
	})
}

func TestBrokenSettingsKeepTheNetworkDownAndAreTold(t *testing.T) {
	b := newBench(t)
	require.NoError(t, os.WriteFile(b.Settings, []byte("hostname: [\n"), 0o600))
	require.ErrorContains(t, b.Apply(t.Context()), "set it up anew on the screen")
	require.NoDirExists(t, b.Network)
	require.Contains(t, b.status(t.Context()).String(), "TROUBLE     settings: ")
}

func TestTheCertificateIsMadeOnceRenewedInTimeAndNeverInPlaceOfAnothers(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.Apply(t.Context()))
	first, err := fingerprint(b.Gate)
	require.NoError(t, err)
	at := b.Now()
	b.Now = func() time.Time { return at.Add(validFor - 2*lastMonth) }
	require.NoError(t, b.Apply(t.Context()))
	same, err := fingerprint(b.Gate)
	require.NoError(t, err)
	require.Equal(t, first, same)
	b.Now = func() time.Time { return at.Add(validFor - lastMonth/2) }
	require.NoError(t, b.Apply(t.Context()))
	next, err := fingerprint(b.Gate)
	require.NoError(t, err)
	require.NotEqual(t, first, next)
	info, err := os.Stat(filepath.Join(b.Gate, keyFile))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
}

func TestOnlyADiskThatIsBlankBecomesTheDataDisk(t *testing.T) {
	blank := make([]byte, leastDisk)
	label := append(make([]byte, leastDisk-512), bytes.Repeat([]byte("x"), 512)...) // like GPT's second copy
	for _, c := range []struct {
		name  string
		disks map[string][]byte
		why   string // of the refusal
		made  string
	}{
		{"the blank one of two", map[string][]byte{"vda": label, "vdb": blank}, "", "vdb"},
		{"none is blank", map[string][]byte{"vda": label}, "attach a second, empty disk", ""},
		{"two are blank", map[string][]byte{"vdb": blank, "vdc": blank}, "more than one disk is empty", ""},
		{"a CD is no disk", map[string][]byte{"sr0": blank}, "attach a second, empty disk", ""},
		{"a small one", map[string][]byte{"vdb": blank[:2<<20]}, "attach a second, empty disk", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			sys, dev := filepath.Join(b.dir, "sys"), filepath.Join(b.dir, "dev")
			require.NoError(t, os.MkdirAll(dev, 0o755))
			for name, content := range c.disks {
				require.NoError(t, os.MkdirAll(filepath.Join(sys, name), 0o755))
				sectors := []byte(strconv.Itoa(len(content)/512) + "\n")
				require.NoError(t, os.WriteFile(filepath.Join(sys, name, "size"), sectors, 0o600))
				require.NoError(t, os.WriteFile(filepath.Join(sys, name, "ro"), []byte("0\n"), 0o600))
				require.NoError(t, os.WriteFile(filepath.Join(dev, name), content, 0o600))
			}
			err := b.format(t.Context(), sys, dev)
			if c.why != "" {
				require.ErrorContains(t, err, c.why)
				require.Empty(t, b.ran("mke2fs"))
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"mke2fs -q -F -t ext4 -L gatehouse-data -d " + dataTemplate + " " + filepath.Join(dev, c.made)}, b.ran("mke2fs"))
			require.Equal(t, []string{"udevadm trigger --action=change " + filepath.Join(dev, c.made)}, b.ran("udevadm"), "udev is told of the label")

			b.labels = map[string]string{dataLabel: "/dev/vdx"}
			require.NoError(t, b.format(t.Context(), sys, dev))
			require.Len(t, b.ran("mke2fs"), 1, "with a data disk there, a blank one stays blank")
		})
	}
}

func TestTheSeedIsTheDiskWithItsLabel(t *testing.T) {
	b := newBench(t)
	require.Empty(t, b.seedDisk(t.Context()), "no disk has a label")
	b.labels = map[string]string{dataLabel: "/dev/vdb", "cidata-old": "/dev/vdc"}
	require.Empty(t, b.seedDisk(t.Context()))
	for _, label := range []string{"cidata", "CIDATA"} {
		b.labels = map[string]string{dataLabel: "/dev/vdb", label: "/dev/vdc", "other": "/dev/vdd"}
		require.Equal(t, "/dev/vdc", b.seedDisk(t.Context()))
	}
}
