package proxy

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// A passage is the largest thing that an idle tunnel holds. The collector's next size
// is an eighth more.
func TestAPassageIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(passage{}), uintptr(512))
}
