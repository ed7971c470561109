#!/usr/bin/env bash
# Compiles the plugin, loads it into the broker, and shows what a subscriber gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v cc > /dev/null; then
    echo "not shown: there is no C compiler (Debian: gcc)"
    exit 0
fi
cargo build --quiet -p jackfield
jackfield=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/jackfield
work=$(mktemp -d)
broker=
trap 'kill $broker 2> /dev/null || true; rm -rf "$work"' EXIT
cc -std=c11 -O2 -Wall -Wextra -pedantic -Iplugin-api/abi/include -shared -fPIC \
    -o "$work/capitals.so" examples/c-plugin/plugin.c

"$jackfield" run --config examples/c-plugin/jackfield.toml --set "node.plugin_dirs=['$work']" 2> "$work/log" &
broker=$!
for _ in $(seq 100); do
    grep -q listening "$work/log" && break
    sleep 0.1
done
"$jackfield" sub -p 18832 -t '#' -v -C 2 -W 10 > "$work/got" &
listener=$!
sleep 1
for message in "count/a hello" "count/a secret" "elsewhere hello"; do
    "$jackfield" pub -p 18832 -q 1 -t "${message% *}" -m "${message#* }"
done
wait "$listener"
echo "of three messages a subscriber gets two:"
cat "$work/got"
printf 'count/a HELLO\nelsewhere hello\n' | diff - "$work/got"
