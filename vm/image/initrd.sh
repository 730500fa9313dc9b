#!/bin/sh
# What runs first in the machine, from its RAM disk: the disks' drivers, then the root,
# which is the partition that the kernel's command line names. If this ends, the kernel
# panics, shows what was said here, and starts anew (panic=10).
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys

# plug loads the drivers of the devices that are there, until that shows no new ones: a
# bus has devices only once it has its driver. Each driver's signature is checked, which
# takes a while: those of other hypervisors are left alone.
plug() {
  before=
  while now=$(cat /sys/bus/*/devices/*/modalias 2>/dev/null); [ "$now" != "$before" ]; do
    before=$now
    modprobe -qa $now 2>>/said
  done
}
plug
modprobe squashfs 2>>/said

for word in $(cat /proc/cmdline); do
  case $word in root=PARTUUID=*) id=${word#root=PARTUUID=} ;; esac
done
# A GUID lies on the disk with its first three groups turned round (UEFI, appendix A).
turned=${id:6:2}${id:4:2}${id:2:2}${id:0:2}${id:11:2}${id:9:2}${id:16:2}${id:14:2}${id:19:4}${id:24:12}

# seek sets partition to the second one of the disk whose table has its GUID there:
# entries of 128 octets from octet 1024 on, each with its GUID at 16 (UEFI, section 5.3.3).
seek() {
  for disk in /sys/block/*; do
    disk=${disk##*/}
    [ "$(dd if="/dev/$disk" bs=16 skip=73 count=1 2>/dev/null | hexdump -e '16/1 "%02x"')" = "$turned" ] || continue
    for partition in "/dev/${disk}2" "/dev/${disk}p2"; do
      [ ! -b "$partition" ] || return 0
    done
  done
  return 1
}
tries=0
until seek; do
  tries=$((tries + 1))
  if [ $tries = 600 ]; then
    echo "gatehouse: no disk holds the partition $id; there are: $(cat /proc/partitions)"
    cat /said
    exit 1
  fi
  sleep 0.1
  plug
  # Two seconds without it: perhaps a device does not say what it is. Then all are tried.
  if [ $tries = 20 ]; then
    for driver in /lib/modules/*/*.ko; do
      driver=${driver##*/}
      modprobe -q "${driver%.ko}" 2>>/said
    done
  fi
done

mount -t squashfs -o ro "$partition" /root || exit 1
mount -o move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
