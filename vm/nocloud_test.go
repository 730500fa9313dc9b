package vm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"
)

func TestASeedIsReadAsItsAuthorMeantIt(t *testing.T) {
	dirs, err := filepath.Glob("testdata/seed/*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			files, err := readSeed(dir)
			require.NoError(t, err)
			got, err := parseSeed(files["meta-data"], files["user-data"], files["network-config"])
			require.NoError(t, err)
			text, err := os.ReadFile(filepath.Join(dir, "want.yaml"))
			require.NoError(t, err)
			var want seed
			require.NoError(t, yaml.UnmarshalStrict(text, &want))
			require.Equal(t, want, got)
		})
	}
}

func TestASeedThatCannotBeFollowedIsRefusedWithTheReason(t *testing.T) {
	const meta = "instance-id: one\n"
	for _, c := range []struct{ name, meta, user, network, why string }{
		{"without an instance-id", "local-hostname: x\n", "", "", "it has no instance-id"},
		{"a script instead of settings", meta, "#!/bin/sh\nreboot\n", "", `only "#cloud-config" is understood`},
		{"a time zone that is none", meta, "#cloud-config\ntimezone: Moon/Tycho\n", "", `"Moon/Tycho" is no time zone`},
		{"a short password", meta, "#cloud-config\npassword: short\n", "", "at least 10 characters"},
		{"a broken hash", meta, "#cloud-config\npassword: $2y$10$tooshort\n", "", "the login is no bcrypt hash"},
		{"rules in base64", meta, "#cloud-config\nwrite_files:\n- {path: /etc/gatehouse/rules.toml, encoding: b64, content: eA==}\n", "", "encoding is not understood"},
		{"a name that would be a line of its own", meta, "#cloud-config\nhostname: \"gate\\nx\"\n", "", "is no host name"},
		{"a time server that would be a line of its own", meta, "#cloud-config\nntp: {servers: [\"a\\n[Network]\"]}\n", "", "neither a name nor an address"},
		{"another version of the network", meta, "", "version: 3\n", "version 3 is not understood"},
		{"an address without its network", meta, "", "version: 2\nethernets: {eth0: {addresses: [10.20.0.1]}}\n", "write it with its network"},
		{"a router elsewhere", meta, "", "version: 2\nethernets: {eth0: {addresses: [10.20.0.1/24], gateway4: 10.30.0.1}}\n", "the router 10.30.0.1 is in none of its networks"},
		{"a route that is not the default", meta, "", "version: 2\nethernets: {eth0: {addresses: [10.20.0.1/24], routes: [{to: 10.0.0.0/8, via: 10.20.0.2}]}}\n", "a route to 10.0.0.0/8 is not understood"},
		{"an adapter with neither address nor DHCP", meta, "", "version: 2\nethernets: {eth0: {}}\n", "neither an address nor DHCP"},
		{"a netmask with holes", meta, "", "version: 1\nconfig:\n- {type: physical, name: eth0, subnets: [{type: static, address: 10.0.0.1, netmask: 255.0.255.0}]}\n", "is no netmask"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseSeed([]byte(c.meta), []byte(c.user), []byte(c.network))
			require.ErrorContains(t, err, c.why)
		})
	}
}

func TestABcryptHashIsTakenAsTheLogin(t *testing.T) {
	hash, err := hashPassword("correct horse battery")
	require.NoError(t, err)
	got, err := parseSeed([]byte("instance-id: one\n"), []byte("#cloud-config\npassword: "+hash+"\n"), nil)
	require.NoError(t, err)
	require.Equal(t, hash, got.Settings.Login)
	require.Empty(t, got.Password)
}

// Whatever a seed says, what is taken of it can be written into systemd's files.
func FuzzSeed(f *testing.F) {
	for _, dir := range []string{"netplan", "proxmox"} {
		files, err := readSeed(filepath.Join("testdata/seed", dir))
		require.NoError(f, err)
		f.Add(files["meta-data"], files["user-data"], files["network-config"])
	}
	f.Fuzz(func(t *testing.T, meta, user, network []byte) {
		got, err := parseSeed(meta, user, network)
		if err != nil {
			return
		}
		text, err := yaml.Marshal(got.Settings)
		require.NoError(t, err)
		var back Settings
		require.NoError(t, yaml.UnmarshalStrict(text, &back))
		require.NoError(t, back.Check())
		for _, name := range back.names() {
			require.Regexp(t, `\A(\[[A-Za-z0-9]+\]\n|[A-Za-z0-9]+=[A-Za-z0-9:./ -]*\n|\n)*\z`, networkFile(name, back.Adapters[name]))
		}
		require.Regexp(t, `\A(\[Time\]\nNTP=[A-Za-z0-9:. -]+\n)?\z`, timeFile(back.NTP))
	})
}
