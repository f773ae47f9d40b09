# boot.sh WORLD BINARIES COMMAND...
#
# Runs as pid 1 of namespaces of its own. Builds a root on a tmpfs, leaves the old root for good and becomes COMMAND.
# Of the old root only /usr, BINARIES (both to be read) and WORLD (the test's own folder) are there.
#
# An init system clears /tmp, writes in /etc, /var and /dev, and sets the kernel's settings. A private /run is therefore
# not enough: nothing of the machine's root may be within its reach, which is checked at the end, before it starts.
set -eu
world=$1 binaries=$2
shift 2

refuse() {
  echo "refused: $*" >&2
  exit 97
}
[ $$ = 1 ] || refuse "this is not pid 1 of namespaces of its own"

root=$world/systemd-root
mkdir -p "$root"
mount -t tmpfs -o mode=755,size=512m tmpfs "$root"
cd "$root"
mkdir usr etc tmp var run proc sys dev root home old
chmod 1777 tmp
chmod 700 root
mkdir -p var/tmp var/lib var/cache var/log/journal run/lock etc/systemd/system
chmod 1777 var/tmp
ln -s ../run var/run
for dir in bin sbin lib lib32 lib64; do
  [ ! -L "/$dir" ] || ln -s "usr/$dir" "$dir"
done
for file in passwd group nsswitch.conf ld.so.cache os-release hosts alternatives ssl localtime; do
  [ ! -e "/etc/$file" ] || cp -a "/etc/$file" etc/
done

read_only() {
  mount -o remount,bind,ro "$1"
}
mount --bind /usr usr
read_only usr
mkdir -p "./$world" "./$binaries"
mount --bind "$world" "./$world"
mount --bind "$binaries" "./$binaries"
read_only "./$binaries"

mount -t proc -o nosuid,nodev,noexec proc proc
for file in sys sysrq-trigger; do
  [ -e "proc/$file" ] || continue
  mount --bind "proc/$file" "proc/$file"
  read_only "proc/$file"
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755,size=64k tmpfs dev
mkdir dev/shm dev/pts
for node in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777,size=64m tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
touch dev/console
mount --bind dev/null dev/console

# What has no business here is off as well: it would only find closed doors.
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-clean.service \
  systemd-tmpfiles-clean.timer systemd-sysctl.service systemd-udevd.service systemd-udev-trigger.service \
  systemd-remount-fs.service systemd-modules-load.service systemd-random-seed.service systemd-sysusers.service \
  systemd-firstboot.service systemd-machine-id-commit.service systemd-hwdb-update.service systemd-logind.service \
  modprobe@.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount \
  proc-sys-fs-binfmt_misc.mount; do
  ln -s /dev/null "etc/systemd/system/$unit"
done
printf '[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n' >etc/systemd/system/test.target
ln -s test.target etc/systemd/system/default.target
tr -d '\n-' </proc/sys/kernel/random/uuid >etc/machine-id
echo >>etc/machine-id

pivot_root . old
cd /
umount -l /old
rmdir /old

[ "$(stat -f -c %T /)" = tmpfs ] || refuse "the root is not a tmpfs of its own"
for dir in /tmp /var /var/tmp /etc /run /root /home; do
  [ "$(stat -c %d "$dir")" = "$(stat -c %d /)" ] || refuse "$dir is not of this root"
done
touch /usr/mantle-probe 2>/dev/null && refuse "/usr can be written"
# Only these namespaces are in the group: what systemd mounts for a service, such as its credentials, reaches the service.
mount --make-rshared /
exec "$@"
