#!/bin/sh
# Installs the Mantle agent on this machine, joins it to its server and starts it as a service of systemd.
#
#   --token TOKEN        the join token, made by 'mantle agent install-command'; or
#   --token-file FILE    a file that holds it
#   --program FILE       the agent's program, if it is here already; it is checked like one that was fetched
#   --bin DIR            where the program goes; /usr/local/bin unless given
#   --dry-run            says what would be done, and changes nothing
#   --uninstall          leaves the server, and removes service, data and program
# and of 'tentacle join': --name NAME, --tag TAG, --environment ENV, --apps DIR, --profile full|confined, --force
#
# It may be run again: what is there and right is left alone.
set -eu

install_agent() {
  url=@URL@
  server=@SERVER@
  bin=/usr/local/bin
  token='' program='' dry_run='' uninstall=''

  say() { printf '%s\n' "$*"; }
  fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
  }
  # run WORDS...: does it, or says what would be done.
  run() {
    if [ -n "$dry_run" ]; then say "would run: $*"; else "$@"; fi
  }

  # What goes on to 'tentacle join' stands in "$@" at the end: each word is taken from the front, and put
  # to the end if it is one of those.
  left=$#
  while [ "$left" -gt 0 ]; do
    option=$1
    shift
    left=$((left - 1))
    case $option in
      --dry-run) dry_run=1 && continue ;;
      --uninstall) uninstall=1 && continue ;;
      --force) set -- "$@" --force && continue ;;
      --token | --token-file | --program | --bin | --name | --tag | --environment | --apps | --profile) ;;
      *) fail "$option is no option of this script; the first lines of it say which there are" ;;
    esac
    [ "$left" -gt 0 ] || fail "$option needs a value"
    value=$1
    shift
    left=$((left - 1))
    case $option in
      --token) token=$value ;;
      --token-file) token=$(cat "$value") || fail "the token cannot be read from $value" ;;
      --program) program=$value ;;
      --bin) bin=$value ;;
      *) set -- "$@" "$option" "$value" ;;
    esac
  done

  [ "$(uname -s)" = Linux ] || fail "this script is for Linux, and this machine runs $(uname -s)"
  [ -n "$dry_run" ] || [ "$(id -u)" = 0 ] || fail "only root may install a service; put 'sudo' before 'sh'"
  case $(uname -m) in
    x86_64 | amd64) name=tentacle-linux-x86_64 digest=@X86_64@ ;;
    aarch64 | arm64) name=tentacle-linux-aarch64 digest=@AARCH64@ ;;
    *) fail "there is no agent for $(uname -m)" ;;
  esac
  tentacle=$bin/tentacle

  if [ -n "$uninstall" ]; then
    if [ -x "$tentacle" ]; then
      run "$tentacle" leave --purge
      run rm -f "$tentacle"
      say "removed $tentacle"
    else
      say "there is no agent in $bin"
    fi
    return 0
  fi

  [ -n "$digest" ] ||
    fail "the server has no agent for $(uname -m) to hand out; put $name where it looks for them ('mantle agent install-command' says where)"
  [ -n "$token" ] || fail "a join token is missing; type the whole line that 'mantle agent install-command' prints"
  [ -d /run/systemd/system ] || fail "systemd does not run this machine; install the program by hand and run 'tentacle join'"

  # is_right FILE: whether it is the program that the server announced in this script.
  is_right() { [ -f "$1" ] && [ "$(sha256 "$1")" = "$digest" ]; }
  sha256() {
    if command -v sha256sum >/dev/null; then
      sha256sum <"$1" | cut -c 1-64
    elif command -v openssl >/dev/null; then
      openssl dgst -sha256 -r <"$1" | cut -c 1-64
    else
      fail "neither sha256sum nor openssl is here, so the program cannot be checked"
    fi
  }
  # fetch URL FILE. Who answers need not be proved: what it sends is.
  fetch() {
    if command -v curl >/dev/null; then
      curl -fsSk --retry 5 --connect-timeout 20 -o "$2" "$1"
    elif command -v wget >/dev/null; then
      wget -q --no-check-certificate --tries 5 --timeout 60 -O "$2" "$1"
    else
      fail "neither curl nor wget is here; fetch $1 in another way and name the file with --program"
    fi
  }

  if is_right "$tentacle"; then
    say "$tentacle is there already and the right one"
  elif [ -n "$dry_run" ]; then
    say "would fetch $url/install/$name, check that its SHA-256 is $digest, and put it to $tentacle"
  else
    mkdir -p "$bin"
    # Beside its place, so that it appears there by one rename; made for root alone.
    new=$(mktemp "$bin/.tentacle.XXXXXX")
    trap 'rm -f "$new"' EXIT
    trap 'exit 130' INT HUP TERM
    if [ -n "$program" ]; then
      cp "$program" "$new"
    else
      say "fetching $url/install/$name"
      fetch "$url/install/$name" "$new" || fail "the agent could not be fetched from $url"
    fi
    is_right "$new" ||
      fail "the program is not the one that the server announced (SHA-256 $(sha256 "$new"), not $digest), so it was not installed; type a new line of 'mantle agent install-command'"
    chmod 755 "$new"
    mv -f "$new" "$tentacle"
    trap - EXIT INT HUP TERM
    say "installed $tentacle"
  fi

  if [ -n "$dry_run" ]; then
    run "$tentacle" join --install --server "$server" "$@"
  else
    # Not as an argument: everybody on this machine sees those.
    TENTACLE_TOKEN=$token "$tentacle" join --install --server "$server" "$@"
  fi
}

# All of it is one function, so that nothing is done of a script that was cut short.
install_agent "$@"
