#!/usr/bin/env bash
# Cross-compiles the Windows agent on Debian: target/windows/tentacle.exe.
#
# There is no ready-made standard library for this target to install, so Debian's own toolchain
# builds it from source, in a target folder of its own. The ordinary toolchain builds all the rest.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=x86_64-pc-windows-gnu
out=${TARGET_DIR:-$PWD/target}/windows
profile=${1:-release}

# Wine lacks the one DLL that Rust's standard library takes random bytes from; Windows has it. The
# stand-in lies beside the executable in the tests and is never shipped.
stand_in() {
  local source=packaging/windows/bcryptprimitives.c dll=$out/bcryptprimitives.dll
  [ "$dll" -nt "$source" ] && return 0
  x86_64-w64-mingw32-gcc -shared -O2 -o "$dll" "$source" -ladvapi32
}

mkdir -p "$out"
unset CARGO_TARGET_DIR
RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0 /usr/bin/cargo build --quiet --locked \
  --profile "$profile" -Zbuild-std=std,panic_abort --target "$target" --target-dir "$out/build" \
  -p tentacle --features faults
folder=$profile
[ "$profile" = dev ] && folder=debug
cp "$out/build/$target/$folder/tentacle.exe" "$out/tentacle.exe"
stand_in
ls -l "$out/tentacle.exe" | awk '{ printf "tentacle.exe: %.1f MiB\n", $5 / 1048576 }'
