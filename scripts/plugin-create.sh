#!/usr/bin/env bash
# Makes the managed plugin from a built binary and enables it. A plugin of the same name is replaced; its settings and
# its data are kept. DOCKER_HOST says which engine.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<EOF
usage: $0 [--binary FILE] [--name NAME] [--data DIR] [--set KEY=VALUE]... [--no-enable] [--force]
  --binary FILE    what to put into the plugin (default: build/rewind)
  --name NAME      the plugin's name, as in 'docker volume create -d NAME' (default: rewind)
  --data DIR       the host's directory for the data (default: the former plugin's, else /var/lib/rewind)
  --set KEY=VALUE  a setting, as for 'docker plugin set'; may be given several times
  --no-enable      create it only
  --keep-same      do nothing if the plugin is enabled and was made of the same files
  --force          replace the plugin although running containers use its volumes; these containers then get errors
                   from their volumes until they are restarted
EOF
}
say() { echo "plugin-create: $*"; }
fail() { echo "plugin-create: $*" >&2; exit 1; }

binary=$source_dir/build/rewind
name=rewind
data=
settings=()
enable=yes
keep_same=
force=
while (($#)); do
  case $1 in
    --binary) binary=${2:?--binary needs a file}; shift 2 ;;
    --name) name=${2:?--name needs a name}; shift 2 ;;
    --data) data=${2:?--data needs a directory}; shift 2 ;;
    --set) settings+=("${2:?--set needs KEY=VALUE}"); shift 2 ;;
    --no-enable) enable=; shift ;;
    --keep-same) keep_same=yes; shift ;;
    --force) force=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ -x $binary ]] || fail "no binary at $binary: build it first (scripts/build.sh)"
docker version >/dev/null 2>&1 || fail "the Docker engine does not answer; start it, or set DOCKER_HOST"

work=$(mktemp -d "${TMPDIR:-/tmp}/rewind-plugin.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The root file system: the binary, the libraries that the loader resolves for it, and the loader itself.
lay_out_rootfs() {
  local root=$1 library
  install -D -m 0755 "$binary" "$root/usr/bin/rewind"
  ldd "$binary" >"$work/ldd" || fail "$binary is not a dynamic executable of this machine"
  if grep -q 'not found' "$work/ldd"; then
    fail "a library of $binary is missing: $(grep 'not found' "$work/ldd" | head -1)"
  fi
  grep -o '/[^ ]*' "$work/ldd" | sort -u | while read -r library; do
    install -D -m 0755 "$library" "$root$library"
  done
  mkdir -p "$root/etc" "$root/tmp" "$root/proc" "$root/sys" "$root/dev" "$root/run/docker/plugins" \
    "$root/mnt/rewind" "$root/var/lib/rewind"
}
mkdir "$work/plugin"
lay_out_rootfs "$work/plugin/rootfs"
cp "$source_dir/plugin-config/config.json" "$work/plugin/config.json"

# What the plugin is made of, as one number. It is kept in the plugin itself, as its description's last word.
made_of=$(cd "$work/plugin" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
sed -i "s/^  \"description\": \"\(.*\)\",$/  \"description\": \"\1, build $made_of\",/" "$work/plugin/config.json"
grep -q "build $made_of" "$work/plugin/config.json" || fail "no description in config.json"

# The containers that run now and have a volume of this plugin.
running_users() {
  local ids
  ids=$(docker ps -q)
  [[ -n $ids ]] || return 0
  # shellcheck disable=SC2086
  docker inspect --format '{{$c := .Name}}{{range .Mounts}}{{.Driver}} {{$c}} {{.Name}}{{"\n"}}{{end}}' $ids |
    awk -v d="$name:latest" -v n="$name" '$1 == d || $1 == n {print substr($2, 2) " (volume " $3 ")"}'
}

setting_of_former() { docker plugin inspect --format "$1" "$name"; }

if docker plugin inspect "$name" >/dev/null 2>&1; then
  former_data=$(setting_of_former '{{range .Settings.Mounts}}{{if eq .Name "data"}}{{.Source}}{{end}}{{end}}')
  if [[ -n $keep_same && ${#settings[@]} -eq 0 && (-z $data || $data == "$former_data") &&
    $(setting_of_former '{{.Enabled}} {{.Config.Description}}') == "true "*"build $made_of" ]]; then
    say "plugin $name is enabled and of this build already, data in $former_data"
    exit 0
  fi
  users=$(running_users)
  if [[ -n $users && -z $force ]]; then
    fail "not replacing plugin $name: in use by container $(paste -sd, <<<"$users" | sed 's/,/, /g');" \
      "stop it first, or pass --force"
  fi
  # What was set stays set: the engine forgets it with the plugin.
  data=${data:-$former_data}
  while read -r former; do
    [[ $former == REWIND_*=* ]] && settings=("$former" "${settings[@]}")
  done < <(setting_of_former '{{range .Settings.Env}}{{println .}}{{end}}')
  say "replacing plugin $name"
  docker plugin disable -f "$name" >/dev/null 2>&1 || true  # it may be disabled already
  docker plugin rm -f "$name" >/dev/null
fi

say "creating plugin $name ($(du -sh "$work/plugin/rootfs" | cut -f1) of root file system)"
docker plugin create "$name" "$work/plugin" >/dev/null
data=${data:-/var/lib/rewind}
mkdir -p "$data"
docker plugin set "$name" "data.source=$data" "${settings[@]}"
if [[ -z $enable ]]; then
  say "plugin $name is created, data in $data; 'docker plugin enable $name' starts it"
  exit 0
fi
docker plugin enable "$name" >/dev/null || fail "plugin $name does not start: see the engine's log"
say "plugin $name is enabled, data in $data"
