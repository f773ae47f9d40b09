#!/bin/sh
# Builds the server's Debian package: mantle_VERSION_ARCH.deb, with the agents that it hands out.
#
#   packaging/deb/build.sh [FOLDER]
#
# It goes into FOLDER, target/deb unless given. The programs are built first; PROGRAMS=DIR takes those in a folder
# instead. An agent for Windows is put in when packaging/windows/build.sh has made it, or WINDOWS_AGENT=FILE names it.
# COMPRESSION is that of dpkg-deb, xz unless given.
set -eu
cd "$(dirname "$0")/../.."

out=${1:-target/deb}
programs=${PROGRAMS:-}
if [ -z "$programs" ]; then
  cargo build --release -p mantle -p tentacle
  programs=${CARGO_TARGET_DIR:-target}/release
fi
version=$(sed -n '/^\[workspace.package\]/,/^version/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
arch=$(dpkg --print-architecture)
case $arch in
  amd64) platform=linux-x86_64 ;;
  arm64) platform=linux-aarch64 ;;
  *) echo "no agent is built for $arch" >&2 && exit 1 ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
agents=$root/usr/lib/mantle/agents
install -d "$root/DEBIAN" "$root/etc/mantle" "$root/usr/bin" "$agents" "$root/usr/lib/systemd/system"
install -s -m 755 "$programs/mantle" "$root/usr/bin/mantle"
install -s -m 755 "$programs/tentacle" "$agents/tentacle-$platform"
windows=${WINDOWS_AGENT:-target/windows/release/tentacle.exe}
if [ -f "$windows" ]; then
  install -m 755 "$windows" "$agents/tentacle-windows-x86_64.exe"
fi
sed 's|/usr/local/bin/|/usr/bin/|' packaging/systemd/mantle.service >"$root/usr/lib/systemd/system/mantle.service"
chmod 644 "$root/usr/lib/systemd/system/mantle.service"
install -m 644 packaging/deb/mantle.env "$root/etc/mantle/mantle.env"
echo /etc/mantle/mantle.env >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
  install -m 755 "packaging/deb/$script" "$root/DEBIAN/$script"
done
cat >"$root/DEBIAN/control" <<CONTROL
Package: mantle
Version: $version
Architecture: $arch
Maintainer: The authors of Mantle <root@localhost>
Installed-Size: $(du -sk "$root" | cut -f 1)
Depends: libc6, passwd
Section: admin
Priority: optional
Description: deployment server
 Keeps projects, packages and releases, and deploys them by agents on Windows
 and Linux. Its database is inside; nothing else is needed. It hands the agent
 to machines that are to become targets: 'mantle agent install-command'.
CONTROL

mkdir -p "$out"
dpkg-deb --root-owner-group -Z"${COMPRESSION:-xz}" --build "$root" "$out" >/dev/null
echo "$out/mantle_${version}_$arch.deb"
