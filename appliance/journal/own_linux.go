package journal

import (
	"os"
	"syscall"
)

// own gives a new file to whom the folder belongs: what root writes by a command
// must stay the gate's to write.
func (j Journal) own(f *os.File) error {
	folder, err := os.Stat(string(j))
	if err != nil {
		return err
	}
	owner, ok := folder.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || owner.Uid == 0 {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
