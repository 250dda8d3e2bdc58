#!/usr/bin/env bash
# Installs the Debian packages that rewind needs and this machine lacks; says nothing when none is missing.
set -euo pipefail

usage() {
  cat <<EOF
usage: $0 [build] [story] [engine] [test]    (default: all of them)
  build   what compiles rewind
  story   what the quick start's containers are made of
  engine  a Docker engine, unless there is one
  test    what the tests and the linters use
EOF
}

build=(build-essential cmake ninja-build pkg-config ccache libfuse3-dev librocksdb-dev libspdlog-dev libfmt-dev
  nlohmann-json3-dev libcpp-httplib-dev libcli11-dev libxxhash-dev prometheus-cpp-dev libarchive-dev
  nettle-dev liblzma-dev libgtest-dev libgmock-dev)
story=(busybox-static sqlite3)
test=(python3 fuse3 attr acl util-linux postgresql postgresql-contrib mariadb-server-core mariadb-client-core
  redis-server git rsync clang clang-format clang-tidy libarchive-tools zsh fish groff-base mandoc docker-compose)

wanted=()
(($#)) || set -- build story engine test
for group in "$@"; do
  case $group in
    build) wanted+=("${build[@]}") ;;
    story) wanted+=("${story[@]}") ;;
    engine)
      # Another distribution of the engine (docker-ce) conflicts with Debian's.
      command -v dockerd >/dev/null || wanted+=(docker.io)
      command -v docker >/dev/null || wanted+=(docker.io)
      command -v iptables >/dev/null || wanted+=(iptables)
      ;;
    test) wanted+=("${test[@]}") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}
missing=()
for package in "${wanted[@]}"; do
  is_installed "$package" || missing+=("$package")
done
((${#missing[@]})) || exit 0

command -v apt-get >/dev/null || { echo "setup: no apt-get here; install: ${missing[*]}" >&2; exit 1; }
((EUID == 0)) || { echo "setup: run as root to install: ${missing[*]}" >&2; exit 1; }
echo "setup: installing ${missing[*]}"

# The tests start their own engine and their own database: no service is to be started and no database cluster made
# just because a package came.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/rewind-setup.conf
made=()
log=$(mktemp)
trap 'rm -f "$log" "${made[@]}"' EXIT
if [[ ! -e $policy ]]; then
  made+=("$policy")
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 0755 "$policy"
fi
if ! is_installed postgresql-common; then
  mkdir -p "$(dirname "$cluster")"
  made+=("$cluster")
  echo 'create_main_cluster = false' >"$cluster"
fi

export DEBIAN_FRONTEND=noninteractive
# Without pipes for debconf and dpkg to ask on; the output is shown only if something fails.
install() { apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"; }
if ! { apt-get update && install; } </dev/null >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "setup: apt-get failed" >&2
  exit 1
fi
