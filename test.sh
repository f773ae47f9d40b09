#!/usr/bin/env bash
# Installs what the tests need and runs them all: format, lints, unit, store, end to end, chaos, Windows.
# Prints each failure plainly and ends with a summary; the exit code is 0 only if all went well.
#
#   ./test.sh              everything
#   ./test.sh STEP...      only these steps, by the names that the summary shows
set -uo pipefail
cd "$(dirname "$0")"

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export CARGO_INCREMENTAL=0
export RUST_BACKTRACE=0
export TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$TARGET_DIR

only=("$@")
failed=()
passed=()
started=$SECONDS

say() { printf '\n== %s\n' "$*"; }

wanted() {
  [ ${#only[@]} -eq 0 ] && return 0
  local name
  for name in "${only[@]}"; do [ "$name" = "$1" ] && return 0; done
  return 1
}

# step NAME COMMAND...: runs it, and goes on after a failure so that one run shows all of them.
step() {
  local name=$1 began=$SECONDS
  shift
  wanted "$name" || return 0
  say "$name"
  if "$@"; then
    passed+=("$name ($((SECONDS - began)) s)")
  else
    failed+=("$name")
    printf '== %s FAILED\n' "$name"
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    echo "cannot install packages: not root, and there is no sudo; run as root: $*" >&2
    return 1
  fi
}

# install_packages NAME...: Debian packages that are missing.
install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing Debian packages: ${missing[*]}"
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# install_tool COMMAND CRATE: a cargo subcommand that is missing, from its published source.
install_tool() {
  command -v "$1" >/dev/null && return 0
  echo "installing $2 (compiled once)"
  CARGO_TARGET_DIR=$TARGET_DIR/tools cargo install --quiet --locked "$2"
}

tools() {
  install_packages build-essential python3 procps iproute2 haproxy nginx postgresql systemd curl rpm shellcheck python3-aiosmtpd &&
    install_tool cargo-nextest cargo-nextest &&
    install_tool cargo-deny cargo-deny
}

windows_tools() {
  install_packages rustc-web cargo-web rust-web-src gcc-mingw-w64-x86-64-posix \
    g++-mingw-w64-x86-64-posix wine64 wine nasm cmake msitools wixl
}

format() { cargo fmt --all -- --check; }

tidy() { cargo run --quiet -p xtask -- tidy; }

lints() { cargo clippy --quiet --workspace --all-targets -- -D warnings; }

# Advisories are not checked here: their database is not in a package registry.
dependencies() { cargo deny --log-level error check bans licenses sources; }

# The same features everywhere, so that nothing is compiled twice. They add points at which a test
# may kill the process; what is shipped has none.
features=(--features tentacle/faults,mantle/faults)

# run_tests NAME ARGUMENTS...: nextest, and its report kept under that name.
run_tests() {
  local name=$1 code
  shift
  # If nothing can be compiled there is no report, rather than that of an earlier run.
  rm -f target/nextest/ci/junit.xml
  cargo nextest run --profile ci "${features[@]}" "$@"
  code=$?
  mkdir -p "$TARGET_DIR/reports"
  cp target/nextest/ci/junit.xml "$TARGET_DIR/reports/$name.xml" 2>/dev/null
  return "$code"
}

unit() {
  run_tests unit --workspace --lib --bins -E 'not package(mantle-tests) and not test(/^store::/)' &&
    cargo test --quiet --doc --workspace "${features[@]}"
}

store() { run_tests store --workspace --lib -E 'package(mantle) and test(/^store::/)'; }

end_to_end() {
  cargo build --quiet --workspace --bins "${features[@]}" &&
    run_tests end-to-end --workspace \
      -E '(kind(test) or package(mantle-tests)) and not test(/^windows::/)'
}

# Three minutes of random faults; the seed that it prints repeats the schedule.
chaos() { tests/chaos --minutes 3 --keep "$TARGET_DIR/reports/chaos"; }

windows() { windows_tools && packaging/windows/build.sh windows-test && packaging/windows/test.sh; }

# Whether every scenario of tests/scenarios.txt has a test that ran, in this run:
# ./test.sh unit end-to-end scenarios
scenarios() { cargo run --quiet -p xtask -- scenarios "$TARGET_DIR"/reports/*.xml; }

# What an earlier run reported proves nothing of this one.
rm -rf "$TARGET_DIR/reports"

step tools tools
step format format
step tidy tidy
step lints lints
step dependencies dependencies
step unit unit
step store store
step end-to-end end_to_end
step chaos chaos
step windows windows
step scenarios scenarios

say "summary ($((SECONDS - started)) s)"
for name in "${passed[@]}"; do echo "ok      $name"; done
for name in "${failed[@]}"; do echo "FAILED  $name"; done
echo "${#passed[@]} passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
