#!/usr/bin/env bash
# Builds the plugin and the broker, loads one into the other, and shows who gets what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --quiet -p jackfield -p example-native-auth
built=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
work=$(mktemp -d)
broker=
trap 'kill $broker 2> /dev/null || true; rm -rf "$work"' EXIT
cp "$built/libexample_native_auth.so" "$work/"
jackfield=("$built/jackfield")
config=examples/native-auth/jackfield.toml
here=(--set "node.plugin_dirs=['$work']")

echo "the configuration is right:"
"${jackfield[@]}" check "$config" "${here[@]}"
echo "a password that is too short, and a pin to another file, are told before anything starts:"
"${jackfield[@]}" check "$config" "${here[@]}" --set 'plugins.users.config.users.d1.password="x"' && exit 1
"${jackfield[@]}" check "$config" "${here[@]}" --set "plugins.users.sha256=\"$(printf '0%.0s' {1..64})\"" && exit 1

"${jackfield[@]}" run --config "$config" "${here[@]}" 2> "$work/log" &
broker=$!
for _ in $(seq 100); do
    grep -q listening "$work/log" && break
    sleep 0.1
done
client() { "${jackfield[@]}" "$1" -p 18831 "${@:2}"; }

echo "d1 hears itself below its own name:"
client sub -u d1 -P azure -t 'device/d1/#' -C 1 -W 10 > "$work/got" &
listener=$!
sleep 1
client pub -u d1 -P azure -t device/d1/temperature -m 21.5 -q 1
wait "$listener"
cat "$work/got"
grep -q 21.5 "$work/got"
echo "a wrong password is refused, and a barred user is told why:"
client pub -u d1 -P green -t device/d1/x -m x && exit 1
client pub -u d2 -P crimson -t device/d2/x -m x && exit 1
echo "the plugin's own line in the log:"
grep "users" "$work/log"
