package appliance

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/rules"
)

// renewal is a folder as certbot keeps one: files of each issue, and links to those
// that hold.
type renewal struct {
	t   *testing.T
	dir string
}

func (r renewal) files() rules.TLSFiles {
	return rules.TLSFiles{Chain: filepath.Join(r.dir, "chain.pem"), Key: filepath.Join(r.dir, "key.pem")}
}

// issue writes the files of an issue, all of the same length and date.
func (r renewal) issue(name string) (chain, key []byte) {
	pair := nettest.NewAuthority(r.t, name).Sign(r.t, nil, "localhost")
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(r.t, err)
	for _, der := range pair.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for len(chain) < 4096 { // a signature is an octet longer or shorter
		chain = append(chain, '\n')
	}
	for file, text := range map[string][]byte{"chain": chain, "key": key} {
		path := filepath.Join(r.dir, file+"-"+name+".pem")
		require.NoError(r.t, os.WriteFile(path, text, 0o600))
		require.NoError(r.t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	}
	return chain, key
}

// link has a name lead to the file of an issue, from one moment to the next.
func (r renewal) link(file, issue string) {
	path := filepath.Join(r.dir, file+".pem")
	require.NoError(r.t, os.Symlink(file+"-"+issue+".pem", path+".new"))
	require.NoError(r.t, os.Rename(path+".new", path))
}

// settled is a pair that was read when its files were no longer young.
func settled(t *testing.T, files rules.TLSFiles) *shownPair {
	s, err := newShownPair(files, time.Now())
	require.NoError(t, err)
	require.True(t, s.young, "what was written a moment ago is read again")
	s.young = false
	return s
}

func (s *shownPair) by() string { return s.current.Load().Leaf.Issuer.CommonName }

// Both links lead to other files that are as large and as old: reproducible builds, cp -p
// and read-only images write such.
func TestACertificateThatIsRenewedByLinksIsShownWhateverItsDate(t *testing.T) {
	t.Parallel()
	r := renewal{t, t.TempDir()}
	r.issue("one")
	r.issue("two")
	r.link("chain", "one")
	r.link("key", "one")
	s := settled(t, r.files())
	before := s.by()
	require.NoError(t, s.renew(time.Now()))
	require.Equal(t, before, s.by())

	r.link("chain", "two") // and the key not yet
	require.ErrorContains(t, s.renew(time.Now()), "the one before is still shown: "+r.files().Chain+": the certificate and the key cannot be used together")
	require.Equal(t, before, s.by())
	r.link("key", "two")
	require.NoError(t, s.renew(time.Now()))
	require.NotEqual(t, before, s.by())
}

func TestACertificateThatIsWrittenAgainWithinATickIsSeen(t *testing.T) {
	t.Parallel()
	r := renewal{t, t.TempDir()}
	chain, key := r.issue("two")
	r.issue("one")
	r.link("chain", "one")
	r.link("key", "one")
	s, err := newShownPair(r.files(), time.Now())
	require.NoError(t, err)
	before := s.by()
	require.NoError(t, os.WriteFile(r.files().Chain, chain, 0o600))
	require.NoError(t, os.WriteFile(r.files().Key, key, 0o600))
	s.seen = s.marks() // no clock of a file system tells the two apart
	require.NoError(t, s.renew(time.Now()))
	require.NotEqual(t, before, s.by())
}

// The server's own certificate is whole and fits its key, and the one of the authority
// between is half there: clients that do not know it would turn away.
func TestAChainThatIsHalfWrittenIsNotShown(t *testing.T) {
	t.Parallel()
	r := renewal{t, t.TempDir()}
	chain, _ := r.issue("two")
	r.issue("one")
	r.link("chain", "one")
	r.link("key", "one")
	s := settled(t, r.files())
	before := s.by()
	half := append(chain, chain[:200]...)
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "chain-two.pem"), half, 0o600))
	r.link("chain", "two")
	r.link("key", "two")
	require.ErrorContains(t, s.renew(time.Now()), "was it being written?")
	require.Equal(t, before, s.by())
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "chain-two.pem"), append(half, chain[200:]...), 0o600))
	require.NoError(t, s.renew(time.Now()))
	require.NotEqual(t, before, s.by())
}
