#!/usr/bin/env bash
# Builds the example, talks to it as several clients, and shows what each of them gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --quiet -p example-closures
program=${CARGO_TARGET_DIR:-target}/debug/example-closures

work=$(mktemp -d)
if ! command -v mosquitto_sub > /dev/null; then
    echo "not shown: mosquitto_pub and mosquitto_sub are not installed (Debian: mosquitto-clients)"
    "$program" "$work/socket" < /dev/null
    rm -rf "$work"
    exit 0
fi

mkfifo "$work/in"
"$program" "$work/socket" < "$work/in" > "$work/out" &
pid=$!
exec 3> "$work/in"
trap 'kill "$pid" 2> /dev/null || true; rm -rf "$work"' EXIT

for _ in $(seq 100); do
    grep -q '^home ' "$work/out" && [ -S "$work/socket" ] && break
    sleep 0.1
done
port=$(awk -F: '/^home/ { print $2 }' "$work/out")

echo "a stranger is refused:"
mosquitto_pub -p "$port" -u anna -P guess -t home/anna/celsius -m 21 2>&1 && exit 1
echo "anna sends a temperature, something that is none, and a note:"
mosquitto_pub -p "$port" -u anna -P secret -t home/anna/celsius -m 21.5 -q 1 -r
mosquitto_pub -p "$port" -u anna -P secret -V 5 -t home/anna/celsius -m warm -q 1 -r 2>&1 || true
mosquitto_pub -p "$port" -u anna -P secret -t home/anna/note -m "the window is open" -q 1 -r
echo "anna gets:"
mosquitto_sub -p "$port" -u anna -P secret -t 'home/anna/#' -v -C 2 -W 5 | sort | tee "$work/got"
printf 'home/anna/celsius 21.5\nhome/anna/note Anna Example: the window is open\n' | diff - "$work/got"
echo "her display, behind the program's own transport, gets 16 characters:"
mosquitto_sub --unix "$work/socket" -u anna -P secret -t home/anna/note -C 1 -W 5 | tee "$work/got"
printf 'Anna Example: th\n' | diff - "$work/got"

exec 3>&-
wait "$pid"
tail -n 3 "$work/out"
