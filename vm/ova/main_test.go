package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// vmdk is the beginning of a streamOptimized disk, and something after it.
func vmdk(flags uint32, sectors uint64) []byte {
	var b bytes.Buffer
	b.WriteString("KDMV")
	for _, field := range []any{uint32(3), flags, sectors} {
		_ = binary.Write(&b, binary.LittleEndian, field) // a Buffer takes everything
	}
	return append(b.Bytes(), bytes.Repeat([]byte("disk"), 4096)...)
}

func TestTheArchiveHoldsADescriptionItsSumsAndTheDiskInThatOrder(t *testing.T) {
	disk := vmdk(1<<16|3, 4096)
	var out bytes.Buffer
	require.NoError(t, pack(&out, "1.2.3", bytes.NewReader(disk), time.Unix(1763700000, 0)))
	bodies := map[string][]byte{}
	var order []string
	for r := tar.NewReader(bytes.NewReader(out.Bytes())); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Equal(t, tar.FormatUSTAR, h.Format)
		order = append(order, h.Name)
		bodies[h.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"gatehouse-1.2.3.ovf", "gatehouse-1.2.3.mf", "gatehouse-1.2.3.vmdk"}, order)
	require.Equal(t, disk, bodies["gatehouse-1.2.3.vmdk"])
	require.Equal(t, fmt.Sprintf("SHA256(gatehouse-1.2.3.ovf)= %x\nSHA256(gatehouse-1.2.3.vmdk)= %x\n",
		sha256.Sum256(bodies["gatehouse-1.2.3.ovf"]), sha256.Sum256(disk)), string(bodies["gatehouse-1.2.3.mf"]))

	var ovf struct {
		File struct {
			Href string `xml:"href,attr"`
			Size int    `xml:"size,attr"`
		} `xml:"References>File"`
		Disks []struct {
			ID       string `xml:"diskId,attr"`
			File     string `xml:"fileRef,attr"`
			Capacity int    `xml:"capacity,attr"`
		} `xml:"DiskSection>Disk"`
	}
	require.NoError(t, xml.Unmarshal(bodies["gatehouse-1.2.3.ovf"], &ovf))
	require.Equal(t, "gatehouse-1.2.3.vmdk", ovf.File.Href)
	require.Equal(t, len(disk), ovf.File.Size)
	require.Len(t, ovf.Disks, 2)
	require.Equal(t, 4096*512, ovf.Disks[0].Capacity)
	require.Empty(t, ovf.Disks[1].File, "the data disk is made empty by the importer")

	var again bytes.Buffer
	require.NoError(t, pack(&again, "1.2.3", bytes.NewReader(disk), time.Unix(1763700000, 0)))
	require.Equal(t, out.Bytes(), again.Bytes())
}

func TestADiskOfAnotherKindIsRefusedWithWhatToDo(t *testing.T) {
	for name, disk := range map[string][]byte{
		"raw": make([]byte, 4096), "a VMDK that is not compressed": vmdk(3, 4096), "empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			err := pack(io.Discard, "1", bytes.NewReader(disk), time.Now())
			require.ErrorContains(t, err, "the disk ")
		})
	}
}
