#!/usr/bin/env bash
# Builds the store and the broker, kills the broker, and shows what is still there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --quiet -p jackfield -p example-native-store
built=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
work=$(mktemp -d)
broker=
trap 'kill $broker 2> /dev/null || true; rm -rf "$work"' EXIT
cp "$built/libexample_native_store.so" examples/native-store/jackfield.toml "$work/"

start() {
    "$built/jackfield" run --config "$work/jackfield.toml" --set "node.plugin_dirs=['$work']" \
        --set "plugins.log.config.file='$work/sessions.log'" 2> "$work/log" &
    broker=$!
    for _ in $(seq 100); do
        grep -q listening "$work/log" && break
        sleep 0.1
    done
    grep records "$work/log"
}
client() { "$built/jackfield" "$1" -p 18833 "${@:2}"; }

start
echo "a message is retained, and the broker is killed:"
client pub -t plant/setpoint -m 21.5 -q 1 -r
kill -9 "$broker"
wait "$broker" 2> /dev/null || true
start
echo "it is still there:"
client sub -t plant/setpoint -C 1 -W 10 | tee "$work/got"
grep -q 21.5 "$work/got"
