package firewall

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kernel tells what the kernel has of the table. It asks nft only where the ruleset
// has changed since it was asked last, which the kernel counts; so it can be asked
// each second. The zero value is ready; it is safe for concurrent use.
type Kernel struct {
	mu    sync.Mutex
	known bool
	count uint32
	text  string
}

// Table is the table as it stands in the kernel, with the numbers by which the kernel
// calls its parts (another table of the same text has others) and without what changes
// by itself: counters, and what is in the sets. Empty: there is no table.
func (k *Kernel) Table(ctx context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	count, err := generation()
	if err == nil && k.known && count == k.count {
		return k.text, nil
	}
	k.known = err == nil // one that cannot be asked for its count is asked for all
	if k.text, err = list(ctx); err != nil {
		k.known = false
		return "", err
	}
	k.count = count
	return k.text, nil
}

func list(ctx context.Context) (string, error) {
	path, err := nftPath()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, path, append([]string{"--handle", "--stateless", "--terse", "list", "table"}, strings.Fields(Table)...)...)
	c.Env = []string{"LC_ALL=C"} // its words are compared
	var said bytes.Buffer
	c.Stderr = &said
	switch out, err := c.Output(); {
	case err == nil:
		return string(out), nil
	case strings.Contains(said.String(), "No such file or directory"):
		return "", nil
	default:
		return "", inWords(said.String(), err)
	}
}

const (
	nftGetGeneration  = 16 // NFT_MSG_GETGEN of linux/netfilter/nf_tables.h
	nftNewGeneration  = 15 // NFT_MSG_NEWGEN
	nftGenerationID   = 1  // NFTA_GEN_ID, in the network's order
	nftablesSubsystem = 10 // NFNL_SUBSYS_NFTABLES of linux/netfilter/nfnetlink.h
)

var errNoGeneration = errors.New("the kernel does not count the changes of its ruleset")

// generation is the kernel's count of transactions on its rulesets.
func generation() (uint32, error) {
	req := nl.NewNetlinkRequest(nftablesSubsystem<<8|nftGetGeneration, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC})
	answers, err := req.Execute(unix.NETLINK_NETFILTER, nftablesSubsystem<<8|nftNewGeneration)
	if err != nil {
		return 0, fmt.Errorf("ask the kernel for its ruleset's count: %w", err)
	}
	for _, a := range answers {
		if len(a) < nl.SizeofNfgenmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(a[nl.SizeofNfgenmsg:])
		if err != nil {
			return 0, err
		}
		for _, attr := range attrs {
			if attr.Attr.Type == nftGenerationID && len(attr.Value) == 4 {
				return binary.BigEndian.Uint32(attr.Value), nil
			}
		}
	}
	return 0, errNoGeneration
}
