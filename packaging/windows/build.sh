#!/usr/bin/env bash
# Cross-compiles the Windows agent on Debian: target/windows/<profile>/tentacle.exe.
#
#   packaging/windows/build.sh                 what is shipped
#   packaging/windows/build.sh windows-test    for the tests under Wine: with fault points, built faster
#
# There is no ready-made standard library for this target to install, so Debian's own toolchain
# builds it from source, in a target folder of its own. The ordinary toolchain builds all the rest.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=x86_64-pc-windows-gnu
profile=${1:-release}
top=${TARGET_DIR:-$PWD/target}/windows
out=$top/$profile
mkdir -p "$out"

features=()
# The stand-in for IIS and a service to be deployed are of the tests alone.
[ "$profile" = windows-test ] && features=(--features faults --bins --example appcmd --example testservice)
unset CARGO_TARGET_DIR RUSTFLAGS
RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0 /usr/bin/cargo build --quiet --locked \
  --profile "$profile" -Zbuild-std=std,panic_abort --target "$target" --target-dir "$top/build" \
  -p tentacle "${features[@]}"
cp "$top/build/$target/$profile/tentacle.exe" "$out/tentacle.exe"

# Wine lacks the one DLL that Rust's standard library takes random bytes from; Windows has it. The
# stand-in lies beside the executable in the tests and is never shipped.
if [ "$profile" = windows-test ]; then
  cp "$top/build/$target/$profile/examples/appcmd.exe" "$top/build/$target/$profile/examples/testservice.exe" "$out/"
  x86_64-w64-mingw32-gcc -shared -O2 -Wall -Werror \
    -o "$out/bcryptprimitives.dll" packaging/windows/bcryptprimitives.c -ladvapi32
fi
stat --printf '%n: %s bytes\n' "$out/tentacle.exe"
