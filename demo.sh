#!/usr/bin/env bash
# Shows Mantle at work: a server, four agents, a website, a rolling deployment and a promotion.
#
#   ./demo.sh              builds, shows, and cleans up
#   ./demo.sh --stay       leaves everything running at the end, until Ctrl-C
#   ./demo.sh --bin DIR    uses the programs in DIR and builds nothing
#
# Everything lives in a temporary folder, listens on 127.0.0.1 on ports of the system's choice, and
# is stopped at the end by the process ids that this script started. No root, no other service; the
# network is only used by cargo, for what it has not yet.
set -euo pipefail
cd "$(dirname "$0")"

stay=no
bin=
while [ $# -gt 0 ]; do
  case $1 in
    --stay) stay=yes ;;
    --bin)
      bin=${2:?--bin needs a folder}
      shift
      ;;
    *)
      echo "usage: ./demo.sh [--stay] [--bin DIR]" >&2
      exit 2
      ;;
  esac
  shift
done

# The commands below must speak with this demo's server, whatever else this user works with.
unset MANTLE_URL MANTLE_TOKEN MANTLE_OUTPUT MANTLE_CA_FILE TENTACLE_TOKEN TENTACLE_DATA

dir=$(mktemp -d "${TMPDIR:-/tmp}/mantle-demo.XXXXXX")
pids=()
finished=no

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# show COMMAND...: says what is typed, then types it.
show() {
  printf '\033[36m$ %s\033[0m\n' "$*"
  "$@"
}

mantle() { "$bin/mantle" "$@"; }

fail() {
  echo "demo: $*" >&2
  exit 1
}

# start LOG COMMAND...: in the background, remembered by its process id.
start() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 </dev/null &
  pids+=($!)
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || fail "$what: not within the time"
    sleep 0.1
  done
}

clean_up() {
  local status=$? pid log
  trap - EXIT INT TERM
  if [ "$status" != 0 ] && [ "$status" -lt 128 ] && [ "$finished" = no ]; then
    for log in "$dir"/*.log; do
      [ -s "$log" ] || continue
      printf '\n---- the end of %s\n' "${log##*/}" >&2
      tail -n 25 "$log" >&2
    done
  fi
  # Agents first, so that they can say goodbye; the server is the first that was started.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill -TERM "${pids[i]}" 2>/dev/null || true; done
  local deadline=$((SECONDS + 10))
  for pid in ${pids[@]+"${pids[@]}"}; do
    while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$dir"
  [ "$finished" = yes ] && status=0
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "$bin" ]; then
  step "Building the server and the agent (the first time this takes some minutes)"
  show cargo build --release -p mantle -p tentacle
  bin=$(cargo metadata --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
fi
bin=$(cd "$bin" && pwd)
for program in mantle tentacle; do
  [ -x "$bin/$program" ] || fail "there is no $bin/$program"
done
# It stands in for nginx or IIS on the machines of the demo.
rustc --edition 2024 -O -o "$dir/webserver" demo/webserver.rs

step "Starting the server on an empty data directory"
export MANTLE_DATA=$dir/server
start "$dir/server.log" "$bin/mantle" server run --listen-https 127.0.0.1:0 --listen-quic 127.0.0.1:0
server=${pids[0]}
server_answers() { [ -s "$MANTLE_DATA/server.json" ] && mantle target list; }
deadline=$((SECONDS + 60))
until server_answers >/dev/null 2>&1; do
  kill -0 "$server" 2>/dev/null || fail "the server ended at its start"
  [ $SECONDS -lt $deadline ] || fail "the server does not answer"
  sleep 0.1
done
# field NAME: of what the server wrote about itself.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$MANTLE_DATA/server.json"; }
quic=$(field quic)
echo "https  $(field url)"
echo "quic   $quic"

step "Declaring environments, a lifecycle and the targets that are expected"
show mantle apply --yes -f demo/infrastructure.yaml

step "Joining four machines, each with an agent and a web server of its own"
for name in web01 web02 web03 web04; do
  machine=$dir/$name
  mkdir -p "$machine/sites"
  token=$(mantle agent token create --name "$name" 2>/dev/null)
  printf '\033[36m$ tentacle join --server %s --token mj1... --name %s\033[0m\n' "$quic" "$name"
  "$bin/tentacle" --data "$machine/agent" join --server "$quic" --token "$token" --name "$name" >"$dir/join.out" 2>&1 ||
    { cat "$dir/join.out" >&2; fail "$name could not join"; }
  grep -v '^$' "$dir/join.out" | sed 's/^/  /'
  # The scripts of the project find the machine's folder through the agent's environment.
  MACHINE=$machine start "$dir/$name.log" "$bin/tentacle" --data "$machine/agent" run
  start "$dir/$name-web.log" "$dir/webserver" "$machine"
done
all_online() { [ "$(mantle target list | grep -c ' online ')" = 4 ]; }
await 30 "all four agents are connected" all_online
show mantle target list

step "Applying the project, and setting the one secret that it names"
printf '\033[36m$ printf %%s ... | mantle secret set website/journal-key\033[0m\n'
printf %s "a-key-that-nobody-may-see" | mantle secret set website/journal-key
show mantle apply --yes -f demo/website.yaml

step "Packing and pushing two versions of the site"
for version in 1.0 1.1; do
  show tar -C "demo/site/$version" -czf "$dir/Website.$version.tar.gz" .
  show mantle package push "$dir/Website.$version.tar.gz"
done

step "Release 1.0: created, planned, deployed to test"
show mantle release create website 1.0 --package Website:1.0
show mantle plan website 1.0 --environment test
show mantle deploy website 1.0 --environment test

step "Release 1.1: created and deployed to test"
show mantle release create website 1.1 --package Website:1.1
show mantle deploy website 1.1 --environment test

step "Production has nothing yet: the release that runs in test is promoted"
show mantle promote website --from test --environment production

# page PORT PATH: the body of one answer, by the shell alone.
page() {
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET %s HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n' "$2" >&3
  sed '1,/^\r$/d' <&3
  exec 3<&-
}

step "What runs where, as the server knows it"
show mantle status
show mantle target list
show mantle task list

step "What runs where, as each machine answers over HTTP"
for name in web01 web02 web03 web04; do
  for environment in test production; do
    printf '%s  %-11s %s\n' "$name" "$environment" "$(page "$(cat "$dir/$name/web.port")" "/$environment/version.txt")"
  done
done
finished=yes

if [ "$stay" = yes ]; then
  port=$(cat "$dir/web01/web.port")
  step "Everything stays up until Ctrl-C"
  cat <<TEXT
In another terminal:

  export MANTLE_DATA=$MANTLE_DATA
  export PATH=$bin:\$PATH

  mantle status
  mantle task logs T-1
  mantle deploy website 1.0 --environment test
  mantle audit list

The site: http://127.0.0.1:$port/test/ and http://127.0.0.1:$port/production/
TEXT
  while kill -0 "$server" 2>/dev/null; do sleep 1; done
  finished=no
  fail "the server ended"
fi
step "Done in $SECONDS s; everything is stopped and removed (./demo.sh --stay leaves it up)"
