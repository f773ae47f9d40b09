#!/bin/sh
# Builds the agent's packages for this machine's architecture: tentacle_VERSION_ARCH.deb, and where rpmbuild is
# there (Debian's package 'rpm') tentacle-VERSION-1.ARCH.rpm. The one for Windows is made by packaging/windows/msi.sh.
#
#   packaging/agent/build.sh [FOLDER]
#
# They go into FOLDER, target/agent unless given. The program is built first; PROGRAMS=DIR takes that in a folder
# instead. COMPRESSION=none makes larger packages in less time.
set -eu
cd "$(dirname "$0")/../.."

out=${1:-target/agent}
programs=${PROGRAMS:-}
if [ -z "$programs" ]; then
  cargo build --release -p tentacle
  programs=${CARGO_TARGET_DIR:-target}/release
fi
version=$(sed -n '/^\[workspace.package\]/,/^version/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
machine=$(uname -m)
case $machine in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) echo "no agent is built for $machine" >&2 && exit 1 ;;
esac
mkdir -p "$out"
out=$(cd "$out" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
units=$root/usr/lib/systemd/system
install -d "$root/etc/tentacle" "$root/usr/bin" "$units"
install -s -m 755 "$programs/tentacle" "$root/usr/bin/tentacle"
sed -e 's|/usr/local/bin/|/usr/bin/|' \
  -e "s|^# Written by 'tentacle service install'.*|# Of the package 'tentacle', which writes it anew each time. What is to differ goes into|" \
  packaging/systemd/tentacle.service >"$units/tentacle.service"
chmod 644 "$units/tentacle.service"
install -m 644 packaging/agent/tentacle.env "$root/etc/tentacle/tentacle.env"

deb() {
  cp -a "$root" "$work/deb"
  install -d "$work/deb/DEBIAN"
  echo /etc/tentacle/tentacle.env >"$work/deb/DEBIAN/conffiles"
  for script in postinst prerm postrm; do
    install -m 755 "packaging/agent/$script" "$work/deb/DEBIAN/$script"
  done
  cat >"$work/deb/DEBIAN/control" <<CONTROL
Package: tentacle
Version: $version
Architecture: $arch
Maintainer: The authors of Mantle <root@localhost>
Installed-Size: $(du -sk "$root" | cut -f 1)
Depends: libc6
Section: admin
Priority: optional
Description: agent of the deployment server Mantle
 Carries out on this machine what the server tells it. After the installation
 the machine joins with 'tentacle join'; 'mantle agent install-command' on the
 server prints the line.
CONTROL
  compression=${COMPRESSION:-xz}
  dpkg-deb --root-owner-group -Z"$compression" --build "$work/deb" "$out" >/dev/null
  echo "$out/tentacle_${version}_$arch.deb"
}

rpm_of_it() {
  case ${COMPRESSION:-} in none) payload=w0.ufdio ;; *) payload=w9.xzdio ;; esac
  # A dash parts version and release in the name.
  rpmbuild -bb --quiet --target "$machine" --buildroot "$work/rpm" \
    --define "_topdir $work/top" --define "_rpmdir $out" --define "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm" \
    --define "_binary_payload $payload" --define "agent_version $(echo "$version" | tr - '~')" --define "agent_root $root" \
    packaging/agent/tentacle.spec >&2
  echo "$out/tentacle-$(echo "$version" | tr - '~')-1.$machine.rpm"
}

if command -v dpkg-deb >/dev/null; then deb; fi
if command -v rpmbuild >/dev/null; then
  rpm_of_it
else
  echo "rpmbuild is not there, so no rpm is made: on Debian, apt-get install rpm" >&2
fi
