#!/usr/bin/env bash
# Makes the package of the Windows agent: target/windows/<profile>/tentacle-VERSION-x64.msi.
#
#   packaging/windows/msi.sh                 of what is shipped; builds the program first
#   packaging/windows/msi.sh windows-test    of the program for the tests, which build.sh has built
set -euo pipefail
cd "$(dirname "$0")/../.."
profile=${1:-release}
[ "$profile" = release ] && packaging/windows/build.sh
out=${TARGET_DIR:-$PWD/target}/windows/$profile
program=$out/tentacle.exe
if [ ! -f "$program" ]; then
  echo "there is no $program; 'packaging/windows/build.sh $profile' builds it" >&2
  exit 1
fi
version=$(sed -n '/^\[workspace.package\]/,/^version/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
msi=$out/tentacle-$version-x64.msi
# wixl finds files beside its source alone. What it writes is renamed, so that what has the name is whole.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp packaging/windows/tentacle.wxs "$program" "$work/"
(cd "$work" && wixl --arch x64 --define "Version=$version" --output tentacle.msi tentacle.wxs)
# The older version goes before anything else: its program has no version by which files are compared, so that it
# could be kept otherwise. wixl knows no place for that but the last.
msibuild "$work/tentacle.msi" -q \
  "UPDATE InstallExecuteSequence SET Sequence = 1501 WHERE Action = 'RemoveExistingProducts'"
cp "$work/tentacle.msi" "$msi.new"
mv "$msi.new" "$msi"
stat --printf '%n: %s bytes\n' "$msi"
