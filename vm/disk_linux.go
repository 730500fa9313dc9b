package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The label of the data disk's file system, by which it is found whatever it is
// attached to, and what is in it from the start.
const (
	dataLabel    = "gatehouse-data"
	dataTemplate = "/usr/share/gatehouse-vm/data"
	leastDisk    = 64 << 20 // octets
)

// Format makes the data disk where there is none: of the one disk that is blank.
// It never touches a disk that holds anything.
func (m *Machine) Format(ctx context.Context) error {
	err := m.format(ctx, "/sys/block", "/dev")
	m.trouble("disk", err)
	return err
}

func (m *Machine) format(ctx context.Context, sys, dev string) error {
	if m.labelled(ctx, dataLabel) != "" {
		return nil
	}
	blank, err := blankDisks(sys, dev)
	if err != nil {
		return err
	}
	switch len(blank) {
	case 1:
	case 0:
		return errors.New("there is no data disk: attach a second, empty disk of 1 GB or more, and restart")
	default:
		return fmt.Errorf("more than one disk is empty (%s): attach one only, and restart", strings.Join(blank, ", "))
	}
	fmt.Fprintf(m.Log, "%s is empty: it becomes the data disk\n", blank[0])
	if _, err = m.Command(ctx, nil, "mke2fs", "-q", "-F", "-t", "ext4", "-L", dataLabel, "-d", dataTemplate, blank[0]); err != nil {
		return err
	}
	// udev may have read the disk while it was being written, before it watches it for
	// writers: then it would never learn the label, by which the disk is mounted.
	_, err = m.Command(ctx, nil, "udevadm", "trigger", "--action=change", blank[0])
	return err
}

// blankDisks are the writable disks without partitions in whose first and last MiB
// there is nothing but zeros.
func blankDisks(sys, dev string) ([]string, error) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		name := e.Name()
		if !isDisk(filepath.Join(sys, name), name) {
			continue
		}
		path := filepath.Join(dev, name)
		blank, err := isBlank(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if blank {
			list = append(list, path)
		}
	}
	return list, nil
}

// isDisk reports whether a folder of /sys/block is of a writable disk of some size,
// whole: not a floppy, a CD, a loop or what is made of other disks.
func isDisk(sys, name string) bool {
	for _, other := range []string{"loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd"} {
		if strings.HasPrefix(name, other) {
			return false
		}
	}
	number := func(file string) int64 {
		text, err := os.ReadFile(filepath.Join(sys, file))
		if err != nil {
			return -1
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	parts, _ := filepath.Glob(filepath.Join(sys, name+"*", "partition"))
	return number("ro") == 0 && number("size")*512 >= leastDisk && len(parts) == 0 // size is in sectors of 512, whatever the disk's are
}

func isBlank(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	const piece = 1 << 20
	end, err := f.Seek(-piece, io.SeekEnd)
	if err != nil {
		return false, err
	}
	buf := make([]byte, piece)
	for _, at := range []int64{0, end} {
		if _, err := f.ReadAt(buf, at); err != nil {
			return false, err
		}
		if !bytes.Equal(buf, make([]byte, piece)) {
			return false, nil
		}
	}
	return true, nil
}

// seedFiles are the names of the files in a seed.
var seedFiles = []string{"meta-data", "user-data", "network-config"}

// readSeed reads the files of a mounted seed. One without meta-data is none.
func readSeed(dir string) (map[string][]byte, error) {
	const most = 1 << 20
	files := map[string][]byte{}
	for _, name := range seedFiles {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(f, most+1))
		f.Close()
		if err != nil {
			return nil, err
		}
		if len(text) > most {
			return nil, fmt.Errorf("%s is longer than 1 MiB", name)
		}
		files[name] = text
	}
	if files["meta-data"] == nil {
		return nil, nil
	}
	return files, nil
}

// seedLabels are those that NoCloud looks for.
var seedLabels = []string{"cidata", "CIDATA"}

// seedDisk is the disk of a seed; "" where there is none.
func (m *Machine) seedDisk(ctx context.Context) string { return m.labelled(ctx, seedLabels...) }

// labelled is the first device with one of the labels, by what is on the devices now:
// udev's links come later, and waiting for all of them takes the longest part of a
// start. All devices are read in one go, for each start of blkid costs more than that.
func (m *Machine) labelled(ctx context.Context, labels ...string) string {
	out, err := m.Command(ctx, nil, "blkid", "-c", "/dev/null", "-s", "LABEL", "-o", "export")
	if err != nil {
		return "" // 2: nothing has a label
	}
	device := ""
	for line := range strings.Lines(out) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); {
		case key == "DEVNAME":
			device = value
		case key == "LABEL" && slices.Contains(labels, value):
			return device
		}
	}
	return ""
}
