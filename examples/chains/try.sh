#!/usr/bin/env bash
# Builds the broker, starts it with this folder's configuration on free ports, and shows what each listener does.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

cargo build --quiet -p jackfield
jackfield=$(realpath "${CARGO_TARGET_DIR:-target}/debug/jackfield")

work=$(mktemp -d)
trap 'kill "${pid:-}" 2> /dev/null || true; rm -rf "$work"' EXIT
cp "$here"/*.toml "$work"
cd "$work"

echo secret | "$jackfield" passwd add passwd 7
"$jackfield" check jackfield.toml

if ! command -v mosquitto_sub > /dev/null; then
    echo "not shown: mosquitto_pub and mosquitto_sub are not installed (Debian: mosquitto-clients)"
    exit 0
fi

"$jackfield" --config jackfield.toml > out 2>&1 &
pid=$!
for _ in $(seq 100); do
    grep -q listening out && break
    sleep 0.1
done
port() { grep -o "$1[^0-9]*127\.0\.0\.1:[0-9]*" out | head -n 1 | sed 's/.*://'; }
plant=$(port plant)
office=$(port office)

echo "device 7 sends its temperature, and then that of device 8, which it may not:"
mosquitto_pub -p "$plant" -u 7 -P secret -t sensors/7/temp -m 21.5 -q 1 -r
mosquitto_pub -p "$plant" -u 7 -P secret -t sensors/8/temp -m 99.9 -q 1 -r
echo "nobody comes in there without a password:"
mosquitto_pub -p "$plant" -t sensors/7/temp -m 0 2>&1 && exit 1
echo "the office reads under its own names:"
mosquitto_sub -p "$office" -t 'office/#' -v -C 1 -W 5 | tee got
grep -qx 'office/7/temp 21.5' got
echo "and what it writes goes nowhere:"
mosquitto_pub -p "$office" -t office/7/temp -m 0 -q 1 -r
mosquitto_sub -p "$office" -t 'office/#' -v -C 1 -W 5 | tee got
grep -qx 'office/7/temp 21.5' got

kill -INT "$pid"
wait "$pid"
