#!/usr/bin/env bash
# From a fresh Debian 12 to volumes that can be rewound: installs what is missing (the Docker engine included), builds
# rewind, enables it as the managed plugin "rewind", and tells its story on real containers. It can be run again.
#
# Settings: DOCKER_HOST (which engine), REWIND_DATA (where the data go; default /var/lib/rewind), REWIND_BINARY (a binary
# to use instead of building one).
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
volume=rewind-story
snapshot=rewind-story-just-before
undo=rewind-story-before-rollback
writer=rewind-story-writer
image=rewind-story-image

case ${1:-} in
  '') ;;
  --clean) ;;
  *) printf 'usage: %s [--clean]\n  --clean  only remove the containers, volumes and image of the story\n' "$0" >&2; exit 2 ;;
esac

fail() { echo "quickstart: $*" >&2; exit 1; }
title() { printf '\n== %s\n' "$*"; }
# Prints a command as it could be typed, and runs it.
exec 3>&1
run() {
  local word line='$'
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=@,+-]+$ ]] && line+=" $word" || line+=" '${word//\'/\'\\\'\'}'"
  done
  printf '%s\n' "$line" >&3
  "$@"
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# Like run, and notes how long it took: timed LABEL COMMAND…
timings=()
timed() {
  local label=$1 began
  shift
  began=$(milliseconds)
  run "$@"
  timings+=("$(printf '%6d ms  %s' $(($(milliseconds) - began)) "$label")")
}
proofs=()
prove() { # WHAT, then a test's words
  local what=$1
  shift
  test "$@" || fail "not so: $what ($*)"
  proofs+=("$what")
}

clean() {
  local name
  docker rm -f "$writer" >/dev/null 2>&1 || true
  for name in "$snapshot" "$undo" "$volume"; do
    ! docker volume inspect "$name" >/dev/null 2>&1 || docker volume rm "$name" >/dev/null
  done
}

((EUID == 0)) || fail "run as root: it installs packages and talks to the Docker engine"
if [[ ${1:-} == --clean ]]; then
  clean
  docker image rm "$image" >/dev/null 2>&1 || true
  exit 0
fi

start_engine() {
  local flags log=/var/log/rewind-quickstart-dockerd.log pid
  [[ -z ${DOCKER_HOST:-} ]] || fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST"
  "$source_dir/scripts/setup.sh" engine
  if [[ -d /run/systemd/system ]]; then
    run systemctl enable --now docker
    return
  fi
  # No service manager. If the kernel cannot do a container network, the engine does without: volumes need none.
  for flags in "" "--iptables=false --bridge=none"; do
    echo "\$ dockerd $flags >$log 2>&1 &"
    # shellcheck disable=SC2086
    setsid dockerd $flags >"$log" 2>&1 </dev/null 3>&- &
    pid=$!
    for _ in {1..120}; do
      docker version >/dev/null 2>&1 && return
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.5
    done
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  tail -n 20 "$log" >&2
  fail "the Docker engine does not start; its log is $log"
}

title "The engine"
command -v docker >/dev/null && docker version >/dev/null 2>&1 || start_engine
run docker version --format 'Docker engine {{.Server.Version}}'

title "The plugin"
"$source_dir/scripts/setup.sh" story
if [[ -z ${REWIND_BINARY:-} ]]; then
  REWIND_BINARY=$source_dir/build/rewind
  echo '$ scripts/build.sh'
  log=$(mktemp)
  TARGET=rewind "$source_dir/scripts/build.sh" >"$log" 2>&1 || { tail -n 40 "$log" >&2; fail "the build failed"; }
  rm -f "$log"
fi
clean
run "$source_dir/scripts/plugin-create.sh" --binary "$REWIND_BINARY" ${REWIND_DATA:+--data "$REWIND_DATA"} --keep-same
run docker plugin ls

title "An image to run, of this machine's busybox and sqlite3"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/bin" "$tree/tmp" "$tree/data"
cp /bin/busybox "$tree/bin/"
for applet in sh sleep date cp cat ls seq; do ln -s busybox "$tree/bin/$applet"; done
sqlite=$(command -v sqlite3)
install -D "$sqlite" "$tree/usr/bin/sqlite3"
ldd "$sqlite" | grep -o '/[^ ]*' | sort -u | while read -r library; do install -D "$library" "$tree$library"; done
echo "\$ tar … | docker import - $image"
tar -C "$tree" -c . | docker import - "$image" >/dev/null

in_container() { run docker run --rm --network none "$@"; }
# A running application may be in the middle of a transaction at any instant, so a database is read as after a crash: a
# copy of it is recovered and then asked.
ask_sqlite() { # VOLUME, SQL
  in_container -v "$1:/data" "$image" sh -c 'cp /data/* /tmp && sqlite3 /tmp/shop.db "$1"' sh "$2"
}

title "A container writes one order after the other into an SQLite database on a volume"
timed "create a volume" docker volume create -d rewind "$volume"
run docker run -d --name "$writer" --network none -v "$volume:/data" "$image" sh -c '
  sqlite3 /data/shop.db "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY AUTOINCREMENT, placed TEXT, item TEXT)"
  while :; do
    sqlite3 -cmd ".timeout 5000" /data/shop.db "INSERT INTO orders (placed, item) VALUES (datetime(), hex(randomblob(9)))"
    sleep 0.05
  done' >/dev/null
count_live() {
  docker exec "$writer" sqlite3 -readonly -cmd '.timeout 5000' /data/shop.db 'SELECT count(*) FROM orders' 2>/dev/null || echo 0
}
for _ in {1..300}; do
  (($(count_live) < 30)) || break
  sleep 0.2
done
orders=$(count_live)
echo "orders so far: $orders"
prove "a container writes to the volume" "$orders" -ge 30

title "A mistake"
mistake=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
run docker exec "$writer" sqlite3 -cmd '.timeout 5000' /data/shop.db 'DELETE FROM orders'
sleep 0.5
left=$(count_live)
echo "orders now: $left; the application goes on, and nobody took a snapshot. It happened after $mistake"

title "The volume as it was just before, while the application runs on"
timed "make a snapshot volume of that instant" docker volume create -d rewind \
  -o snapshot-of="$volume" -o at="$mistake" "$snapshot"
seen=$(ask_sqlite "$snapshot" 'SELECT count(*) FROM orders')
echo "$seen"
prove "a snapshot volume of the instant before the mistake shows the $seen orders that were there" "$seen" -ge "$orders"
refused=$(in_container -v "$snapshot:/data" "$image" sh -c 'echo x >/data/x' 2>&1 || true)
prove "a snapshot volume cannot be written" -n "$(grep -i 'read-only' <<<"$refused" || true)"

title "The volume is put back"
run docker rm -f "$writer"
timed "roll the volume back" docker volume create -d rewind -o rollback="$volume" -o at="$mistake" "$undo"
back=$(ask_sqlite "$volume" 'SELECT count(*) FROM orders')
echo "$back"
prove "the rollback brought all $back orders back" "$back" -eq "$seen"
wrong=$(ask_sqlite "$undo" 'SELECT count(*) || " " || coalesce(min(id), 0) FROM orders')
echo "$wrong"
prove "the volume made by the rollback still shows the mistake: ${wrong% *} orders, the first of them number ${wrong#* }" \
  "${wrong#* }" -gt "$seen"
run docker volume inspect "$volume"

title "What was proven"
printf '  - %s\n' "${proofs[@]}"
echo "Timings:"
printf '  %s\n' "${timings[@]}"
cat <<EOF

The plugin stays enabled. Yours to try:
  docker volume create -d rewind mydata
  docker volume create -d rewind -o help mydata
The story's volumes $volume, $snapshot and $undo are still there; '$0 --clean' removes them.
EOF
