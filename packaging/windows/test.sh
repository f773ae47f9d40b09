#!/usr/bin/env bash
# Runs the Windows agent under Wine against a Linux server: the tests named windows_*.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${TARGET_DIR:-$PWD/target}/windows
export MANTLE_WINDOWS_AGENT=$out/tentacle.exe
export WINEPREFIX=$out/wine WINEDEBUG=-all WINEARCH=win64
if [ ! -f "$WINEPREFIX/system.reg" ]; then
  echo "preparing Wine"
  timeout 300 wineboot -i >/dev/null 2>&1
fi
cargo nextest run --profile ci -p mantle-tests --features tentacle/faults,mantle/faults -E 'test(/windows/)'
