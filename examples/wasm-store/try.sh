#!/usr/bin/env bash
# Queues a message for a client that is away, kills broker and server, starts both again, and hands the message over.
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
example=$PWD/examples/wasm-store
work=$(mktemp -d)
broker= server=
trap 'kill -9 $broker $server 2> /dev/null || true; rm -rf "$work"' EXIT

start() {
    python3 "$example/server.py" "$work/records" &
    server=$!
    for _ in $(seq 100); do
        (: < /dev/tcp/127.0.0.1/18840) 2> /dev/null && break
        sleep 0.1
    done
    "$jackfield" run --config "$example/jackfield.toml" --set "node.plugin_dirs=['$example']" 2> "$work/log" &
    broker=$!
    for _ in $(seq 100); do
        grep -q listening "$work/log" && break
        sleep 0.1
    done
}

start
reader() { mosquitto_sub -V 311 -p 18839 -i reader -c -q 1 -t 'news/#' -W 30 "$@"; }
reader -E
mosquitto_pub -p 18839 -q 1 -t news/today -m "it is kept"
echo "acknowledged; now broker and server are killed"
kill -9 "$broker" "$server"
wait "$broker" "$server" 2> /dev/null || true
start
echo "after both have started again, the reader gets:"
reader -C 1 -v | tee "$work/got"
grep -qx 'news/today it is kept' "$work/got"
