package ca

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/internal/wholefile"
)

const (
	certificateSuffix = ".crt"
	keySuffix         = ".key"
)

// fileName is the name of a generation's certificate: the day it begins to sign,
// and a part of its serial number, so that no two are called the same.
func fileName(c *x509.Certificate) string {
	return fmt.Sprintf("%s-%s%s", c.NotBefore.Add(ahead).Format(time.DateOnly), hex.EncodeToString(c.SerialNumber.Bytes()[:4]), certificateSuffix)
}

func keyFile(certificate string) string {
	return strings.TrimSuffix(certificate, certificateSuffix) + keySuffix
}

// certificateFiles are the certificates of a folder, by name. A folder that is
// not there holds none.
func certificateFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the folder of the inspection CA cannot be read; make the user that runs gatehouse its owner: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), certificateSuffix) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// makeFolder makes the folder, for its owner alone.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the folder of the inspection CA cannot be made: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(wholefile.Adopt(f), f.Close())
}

// put writes a PEM file under a name that nobody has: whole, or not at all.
func put(file, kind string, der []byte, mode fs.FileMode) (err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already, and is not overwritten", file)
	}
	half := file + ".new"
	f, err := os.OpenFile(half, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("the inspection CA cannot be kept: %w", err)
	}
	defer os.Remove(half)
	err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Chmod(mode), wholefile.Adopt(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(half, file)
	}
	if err != nil {
		return fmt.Errorf("the inspection CA cannot be kept: %w", err)
	}
	return nil
}
