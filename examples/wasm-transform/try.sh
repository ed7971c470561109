#!/usr/bin/env bash
# Runs the tests of the configuration, then the broker, and shows what subscribers get.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v mosquitto_pub > /dev/null; then
    echo "not shown: there is no mosquitto_pub (Debian: mosquitto-clients)"
    exit 0
fi
cargo build --quiet -p jackfield --features wasm
jackfield=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/jackfield
config=examples/wasm-transform/jackfield.toml
here=(--set "node.plugin_dirs=['$PWD/examples/wasm-transform']")
work=$(mktemp -d)
broker=
trap 'kill $broker 2> /dev/null || true; rm -rf "$work"' EXIT

echo "what the configuration says of itself:"
"$jackfield" test "$config" "${here[@]}"
echo "an option that makes no sense is told before anything starts:"
"$jackfield" check "$config" "${here[@]}" --set 'plugins.telemetry.config.convert=[{field="x",from="psi",to="celsius"}]' && exit 1

"$jackfield" run --config "$config" "${here[@]}" 2> "$work/log" &
broker=$!
for _ in $(seq 100); do
    [ "$(grep -c listening "$work/log")" = 2 ] && break
    sleep 0.1
done
mosquitto_sub -p 18834 -t 'sensors/#' -v -C 2 -W 20 > "$work/got" &
listener=$!
sleep 1
reading='{"temperature":70.7}'
for message in "18833 sensors/d1/reading $reading" '18833 sensors/d1/reading {"temperature":900}' \
    "18834 sensors/d1/reading $reading"; do
    read -r port topic payload <<< "$message"
    mosquitto_pub -p "$port" -q 1 -t "$topic" -m "$payload"
done
wait "$listener"
echo "of three messages a subscriber gets two: one was out of range, one came through the listener without the plugin"
cat "$work/got"
diff "$work/got" - << 'END'
sensors/d1/reading {"device":"d1","site":"plant-7","temperature":21.5}
sensors/d1/reading {"temperature":70.7}
END
