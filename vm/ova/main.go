// Command ova writes an OVA for VMware: the description of the machine (OVF 1.0), a
// manifest of SHA-256 sums (DSP0243, section 5.1), and the system disk. The data
// disk is described and not held: the importer makes it, empty.
//
//	ova -version 1.2.3 -o gatehouse.ova gatehouse.vmdk
//
// The disk is a streamOptimized VMDK, as qemu-img writes it. SOURCE_DATE_EPOCH is
// the date of what is in the archive.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/template"
	"time"
)

//go:embed machine.ovf
var machine string

func main() {
	version := flag.String("version", "", "version of the appliance")
	out := flag.String("o", "", "the OVA to write")
	flag.Parse()
	if *version == "" || *out == "" || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: ova -version VERSION -o FILE.ova DISK.vmdk")
		os.Exit(2)
	}
	if err := write(*out, *version, flag.Arg(0)); err != nil {
		fmt.Fprintf(os.Stderr, "ova: %v\n", err)
		os.Exit(1)
	}
}

// write makes the archive; one that could not be finished does not stay.
func write(path, version, disk string) (err error) {
	at := time.Now()
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		at = time.Unix(seconds, 0)
	}
	in, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	return pack(f, version, in, at)
}

// pack writes the archive: first the description, then its sums, then the disk, as
// OVF wants it for whoever reads it from a stream.
func pack(w io.Writer, version string, disk io.ReadSeeker, at time.Time) error {
	capacity, err := sectors(disk)
	if err != nil {
		return err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, disk)
	if err != nil {
		return err
	}
	if _, err := disk.Seek(0, io.SeekStart); err != nil {
		return err
	}
	name := "gatehouse-" + version
	var ovf bytes.Buffer
	if err := template.Must(template.New("").Parse(machine)).Execute(&ovf, map[string]any{
		"Version": version, "Disk": name + ".vmdk", "Size": size, "Capacity": capacity * 512,
	}); err != nil {
		return err
	}
	manifest := fmt.Sprintf("SHA256(%s.ovf)= %x\nSHA256(%s.vmdk)= %x\n", name, sha256.Sum256(ovf.Bytes()), name, sum.Sum(nil))

	t := tar.NewWriter(w)
	for _, part := range []struct {
		name string
		size int64
		body io.Reader
	}{
		{name + ".ovf", int64(ovf.Len()), &ovf},
		{name + ".mf", int64(len(manifest)), bytes.NewBufferString(manifest)},
		{name + ".vmdk", size, disk},
	} {
		if err := t.WriteHeader(&tar.Header{Name: part.name, Size: part.size, Mode: 0o644, ModTime: at, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := io.Copy(t, part.body); err != nil {
			return err
		}
	}
	return t.Close()
}

// sectors is the size of the disk that a sparse VMDK stands for, in sectors of 512:
// the fourth field of its header (VMware's "Virtual Disk Format 5.0", SparseExtentHeader).
// The disk is left at its beginning.
func sectors(disk io.ReadSeeker) (int64, error) {
	var h struct {
		Magic          [4]byte
		Version, Flags uint32
		Capacity       uint64
	}
	if err := binary.Read(disk, binary.LittleEndian, &h); err != nil {
		return 0, fmt.Errorf("the disk cannot be read: %w", err)
	}
	const compressed = 1 << 16
	if string(h.Magic[:]) != "KDMV" || h.Flags&compressed == 0 || h.Capacity == 0 || h.Capacity > 1<<32 {
		return 0, errors.New("the disk is no streamOptimized VMDK; make it with: qemu-img convert -O vmdk -o subformat=streamOptimized")
	}
	_, err := disk.Seek(0, io.SeekStart)
	return int64(h.Capacity), err
}
