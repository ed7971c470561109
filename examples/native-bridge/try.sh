#!/usr/bin/env bash
# Builds the bridge and the broker, and sends datagrams through both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --quiet -p jackfield -p example-native-bridge
built=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
work=$(mktemp -d)
broker=
trap 'kill $broker 2> /dev/null || true; rm -rf "$work"' EXIT
cp "$built/libexample_native_bridge.so" "$work/"

"$built/jackfield" run --config examples/native-bridge/jackfield.toml --set "node.plugin_dirs=['$work']" \
    --set "plugins.udp.config.to='127.0.0.1:18841'" 2> "$work/log" &
broker=$!
for _ in $(seq 100); do
    grep -q listening "$work/log" && break
    sleep 0.1
done
echo "the bridge sends to itself here, so what leaves below out/ comes back below in/:"
"$built/jackfield" sub -p 18834 -t 'in/#' -v -C 1 -W 10 > "$work/got" &
listener=$!
sleep 1
"$built/jackfield" pub -p 18834 -q 1 -t out/lamp -m on
wait "$listener"
cat "$work/got"
grep -q 'in/out/lamp on' "$work/got"
