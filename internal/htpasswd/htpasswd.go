// Package htpasswd reads password files as Apache's htpasswd writes them, and
// checks logins against them. It takes bcrypt alone: what else such files may
// hold can be guessed too fast.
//
// It does not know who has to log in, nor how often somebody may try.
package htpasswd

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A line of more cost would take seconds of a processor for one login; 12 takes
// about a quarter of one.
const mostCost = 12

// mostUsers bounds a file.
const mostUsers = 100_000

// A result is remembered, so that not each request costs a bcrypt: a yes until a
// password that was changed should no longer do, a no for a moment.
const (
	rememberYes    = 15 * time.Minute
	rememberNo     = time.Minute
	mostRemembered = 20_000
)

// Flaw is what is wrong with a line, counted from 1; line 0 is the whole file.
type Flaw struct {
	Line    int
	Message string
}

// File is a password file in memory, safe for concurrent use.
type File struct {
	hashes map[string][]byte // by user
	dummy  []byte            // stands in for the hash of a user that there is not
	key    [sha256.Size]byte // of the digests below: they never leave memory

	mu    sync.Mutex
	known map[[sha256.Size]byte]result
}

type result struct {
	ok    bool
	until time.Time
}

// Parse reads a file. Where it has flaws, there is no File.
func Parse(text []byte) (*File, []Flaw) {
	f := &File{hashes: map[string][]byte{}, known: map[[sha256.Size]byte]result{}}
	rand.Read(f.key[:]) // never fails, as documented
	var flaws []Flaw
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		n++
		line = bytes.TrimRight(line, "\r\n \t")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if message := f.add(string(line)); message != "" {
			flaws = append(flaws, Flaw{n, message})
		}
	}
	switch {
	case len(f.hashes) == 0 && flaws == nil:
		flaws = append(flaws, Flaw{0, "it names no user"})
	case len(f.hashes) > mostUsers:
		flaws = append(flaws, Flaw{0, fmt.Sprintf("it names more than %d users", mostUsers)})
	}
	if flaws != nil {
		return nil, flaws
	}
	return f, nil
}

// add takes one line, or says what is wrong with it. The message never repeats a
// hash.
func (f *File) add(line string) string {
	user, hash, found := strings.Cut(line, ":")
	if !found || user == "" || hash == "" {
		return `it is not USER:HASH, as "htpasswd -B" writes it`
	}
	hash, _, _ = strings.Cut(hash, ":") // further fields are comments
	if _, twice := f.hashes[user]; twice {
		return fmt.Sprintf("the user %q is named twice", user)
	}
	if old := otherThanBcrypt(hash); old != "" {
		return fmt.Sprintf("the password of %q is kept as %s, which is guessed too fast; set it again with \"htpasswd -B\"", user, old)
	}
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil || len(hash) != 60:
		return fmt.Sprintf("the password of %q is no bcrypt hash; set it again with \"htpasswd -B\"", user)
	case cost > mostCost:
		return fmt.Sprintf("the password of %q has a bcrypt cost of %d, and each login would take that long; %d is the most", user, cost, mostCost)
	}
	f.hashes[user] = []byte(hash)
	if f.dummy == nil {
		f.dummy = []byte(hash)
	}
	return ""
}

// otherThanBcrypt names the way in which a hash was made, as far as it shows;
// empty where it may be bcrypt.
func otherThanBcrypt(hash string) string {
	for prefix, name := range map[string]string{
		"$apr1$": "MD5 (apr1)", "$1$": "MD5", "{SHA}": "SHA-1", "{SSHA}": "salted SHA-1", "{PLAIN}": "plain text",
		"$5$": "SHA-256 crypt", "$6$": "SHA-512 crypt",
	} {
		if strings.HasPrefix(hash, prefix) {
			return name
		}
	}
	switch {
	case strings.HasPrefix(hash, "$2"):
		return ""
	case len(hash) == 13:
		return "crypt (DES)"
	}
	return "something else than bcrypt"
}

// Recall says what a look at the same login has found lately; known is false
// where there was none.
func (f *File) Recall(user, password string, at time.Time) (ok, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, known := f.known[f.digest(user, password)]
	if !known || !at.Before(r.until) {
		return false, false
	}
	return r.ok, true
}

// Check looks whether the login is right, which takes up to a quarter of a
// second of a processor; a user that there is not takes as long as one there is.
func (f *File) Check(user, password string, at time.Time) bool {
	hash, there := f.hashes[user]
	if !there {
		hash = f.dummy
	}
	right := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && there
	f.remember(f.digest(user, password), right, at)
	return right
}

func (f *File) remember(d [sha256.Size]byte, right bool, at time.Time) {
	r := result{right, at.Add(rememberNo)}
	if right {
		r.until = at.Add(rememberYes)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= mostRemembered {
		clear(f.known)
	}
	f.known[d] = r
}

// digest is how a login is remembered: not to be turned back without the key.
func (f *File) digest(user, password string) (d [sha256.Size]byte) {
	mac := hmac.New(sha256.New, f.key[:])
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(user))))
	mac.Write([]byte(user))
	mac.Write([]byte(password))
	mac.Sum(d[:0])
	return d
}
