#!/usr/bin/env bash
# Raises an alarm while the office is away, opens the office, and shows what it got and what it ordered.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in mosquitto_pub python3; do
    if ! command -v $tool > /dev/null; then
        echo "not shown: there is no $tool (Debian: mosquitto-clients, python3)"
        exit 0
    fi
done
cargo build --quiet -p jackfield --features wasm
jackfield=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/jackfield
example=$PWD/examples/wasm-bridge
work=$(mktemp -d)
broker= office=
trap 'kill $broker $office 2> /dev/null || true; rm -rf "$work"' EXIT

"$jackfield" run --config "$example/jackfield.toml" --set "node.plugin_dirs=['$example']" 2> "$work/log" &
broker=$!
for _ in $(seq 100); do
    grep -q listening "$work/log" && break
    sleep 0.1
done
mosquitto_pub -p 18837 -q 1 -t alarms/pump7 -m "pressure is 9.1 bar"
mosquitto_sub -p 18837 -q 1 -t 'orders/#' -v -C 1 -W 60 > "$work/got" &
listener=$!
python3 "$example/office.py" > "$work/office" &
office=$!
wait "$listener"
echo "the office was away when the alarm was raised, and got it all the same:"
cat "$work/office"
echo "its order:"
cat "$work/got"
grep -qx 'orders/pump7 stop' "$work/got"
