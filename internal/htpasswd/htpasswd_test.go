package htpasswd

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// hashed is a password as htpasswd -B keeps it, at the least cost there is.
func hashed(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	return "$2y$" + strings.TrimPrefix(string(h), "$2a$")
}

func TestALoginIsRightOnlyWithItsOwnPassword(t *testing.T) {
	f, flaws := Parse([]byte("\ufeff# staff\r\nann:" + hashed(t, "sesame") + "\r\n\nbob:" + hashed(t, "") + "\n"))
	require.Empty(t, flaws)
	for _, test := range []struct {
		user, password string
		right          bool
	}{
		{"ann", "sesame", true}, {"ann", "Sesame", false}, {"ann", "", false}, {"bob", "", true},
		{"bob", "sesame", false}, {"cid", "sesame", false}, {"", "", false}, {"annses", "ame", false},
	} {
		_, known := f.Recall(test.user, test.password, now)
		require.False(t, known)
		require.Equal(t, test.right, f.Check(test.user, test.password, now), "%q with %q", test.user, test.password)
		ok, known := f.Recall(test.user, test.password, now)
		require.True(t, known)
		require.Equal(t, test.right, ok)
	}
	_, known := f.Recall("ann", "Sesame", now.Add(rememberNo))
	require.False(t, known, "a no is remembered for too long")
	ok, _ := f.Recall("ann", "sesame", now.Add(rememberNo))
	require.True(t, ok)
	_, known = f.Recall("ann", "sesame", now.Add(rememberYes))
	require.False(t, known, "a yes is remembered for too long")
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	f, _ := Parse([]byte("ann:" + hashed(t, "sesame")))
	for i := range mostRemembered + 1 {
		f.remember(f.digest("ann", strings.Repeat("x", i%70)+string(rune(i))), false, now)
	}
	require.LessOrEqual(t, len(f.known), mostRemembered)
}

func TestAFileThatCannotGuardIsToldLineByLine(t *testing.T) {
	for _, test := range []struct{ name, text, says string }{
		{"nobody in it", "# nobody\n", "names no user"},
		{"no hash", "ann\n", "not USER:HASH"},
		{"no user", ":" + hashed(t, "x"), "not USER:HASH"},
		{"a user twice", "ann:" + hashed(t, "x") + "\nann:" + hashed(t, "y"), `"ann" is named twice`},
		{"MD5", "ann:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "MD5 (apr1)"},
		{"SHA-1", "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"},
		{"crypt", "ann:rqXexS6ZhobKA", "crypt (DES)"},
		{"SHA-512", "ann:$6$saltsalt$abc", "SHA-512"},
		{"plain text", "ann:sesame", "something else than bcrypt"},
		{"half a hash", "ann:$2y$05$abc", "no bcrypt hash"},
		{"a cost nobody can pay", "ann:" + strings.Replace(hashed(t, "x"), "$04$", "$17$", 1), "cost of 17"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, flaws := Parse([]byte(test.text))
			require.Nil(t, f)
			require.Len(t, flaws, 1)
			require.Contains(t, flaws[0].Message, test.says)
			if _, hash, ok := strings.Cut(test.text, ":"); ok && len(hash) > 5 {
				require.NotContains(t, flaws[0].Message, hash)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("ann:$2y$04$abcdefghijklmnopqrstuuN9f3z8Qw1Q2b3c4d5e6f7g8h9i0j1k2"))
	f.Add([]byte("a:b:c\r\n#\n:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, flaws := Parse(text)
		require.Equal(t, len(flaws) > 0, file == nil)
	})
}
