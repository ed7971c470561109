#!/usr/bin/env bash
# Builds the example, talks to it as two clients, and shows what each of them gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --quiet -p example-embed
program=${CARGO_TARGET_DIR:-target}/debug/example-embed

if ! command -v mosquitto_sub > /dev/null; then
    echo "not shown: mosquitto_pub and mosquitto_sub are not installed (Debian: mosquitto-clients)"
    "$program" < /dev/null
    exit 0
fi

work=$(mktemp -d)
mkfifo "$work/in"
"$program" < "$work/in" > "$work/out" &
pid=$!
exec 3> "$work/in"
trap 'kill "$pid" 2> /dev/null || true; rm -rf "$work"' EXIT

for _ in $(seq 100); do
    [ "$(wc -l < "$work/out")" -ge 2 ] && break
    sleep 0.1
done
devices=$(awk -F: '/^devices/ { print $2 }' "$work/out")
readers=$(awk -F: '/^readers/ { print $2 }' "$work/out")

echo "a device sends 70.7 degrees Fahrenheit, and to another device's topic, which it may not:"
mosquitto_pub -p "$devices" -u d1 -P secret -t device/d1/fahrenheit -m 70.7 -q 1 -r
mosquitto_pub -p "$devices" -u d1 -P secret -t device/d2/fahrenheit -m 70.7 -q 1 -r
echo "a stranger is refused:"
mosquitto_pub -p "$devices" -u d1 -P guess -t device/d1/x -m x 2>&1 && exit 1
echo "a reader gets:"
mosquitto_sub -p "$readers" -t '#' -v -C 2 -W 5 | sort | tee "$work/got"
printf 'device/d1/fahrenheit 21.5\nprogram/hello the program is up\n' | diff - "$work/got"

exec 3>&-
wait "$pid"
tail -n 1 "$work/out"
