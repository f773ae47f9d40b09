#!/usr/bin/env bash
# Runs the Windows agent under Wine against a Linux server: the tests in tests/tests/integration/windows.
set -euo pipefail
cd "$(dirname "$0")/../.."
export TARGET_DIR=${TARGET_DIR:-$PWD/target}
top=$TARGET_DIR/windows
export MANTLE_WINDOWS_AGENT=$top/windows-test/tentacle.exe
# The template of the prefixes that the tests make for themselves.
export WINEPREFIX=$top/wine WINEARCH=win64 WINEDEBUG=-all

if [ ! -f "$WINEPREFIX/ready" ]; then
  echo "preparing Wine"
  rm -rf "$WINEPREFIX"
  mkdir -p "$top"
  export TMPDIR
  TMPDIR=$(mktemp -d "$top/wine-start.XXXXXX")
  timeout 300 wineboot --init >/dev/null 2>&1
  timeout 60 wine reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null 2>&1
  # The files of the registry are written when Wine's server ends.
  wineserver --kill=15 || true
  wineserver --wait
  # Its services outlive it, each waiting on a pipe that the others hold: whatever still has this
  # prefix was started above.
  for process in /proc/[0-9]*; do
    if grep -qzxF "WINEPREFIX=$WINEPREFIX" "$process/environ" 2>/dev/null && [ "${process#/proc/}" != $$ ]; then
      kill -KILL "${process#/proc/}" 2>/dev/null || true
    fi
  done
  rm -rf "$TMPDIR" "$WINEPREFIX/wineserver"
  unset TMPDIR
  touch "$WINEPREFIX/ready"
fi
# The stand-in for IIS, where Windows has it.
inetsrv=$WINEPREFIX/drive_c/windows/system32/inetsrv
mkdir -p "$inetsrv"
cp "$top/windows-test/appcmd.exe" "$top/windows-test/bcryptprimitives.dll" "$inetsrv/"
packaging/windows/msi.sh windows-test
cargo build --quiet --workspace --bins --features tentacle/faults,mantle/faults
cargo nextest run --profile windows -p mantle-tests --features tentacle/faults,mantle/faults -E 'test(/^windows::/)'
