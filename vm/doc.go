// Package vm is what the virtual machine needs beside the gate: it readies the data
// disk, learns name, address, clock and login from the machine's screen or from a
// cloud-init NoCloud seed, and shows on the screen what has become of them.
//
// It knows Debian's systemd, networkd and nftables, and nothing of the gate but its
// commands and its files. What the image is made of lies in the folder image; the
// gate itself is the Debian package in it.
package vm
