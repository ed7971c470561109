#!/usr/bin/env bash
# Lets clients in as an HTTP server says, by the plugin in Rust and in C, or in the languages that are given: rust, c, js, python.
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
example=$PWD/examples/wasm-auth
work=$(mktemp -d)
broker=
python3 "$example/server.py" &
server=$!
trap 'kill $server $broker 2> /dev/null || true; rm -rf "$work"' EXIT

client() { mosquitto_pub -V 5 -p 18835 -i "$1" -u "$1" -P "$2" -t hello -m hi 2>&1; }

for language in "${@:-rust c}"; do
    for language in $language; do
        options=()
        case $language in
            rust) built=$example ;;
            c) built=$example/c ;;
            js | python)
                built=$work/$language
                mkdir "$built"
                "$example/$language/build.sh" "$built/auth.wasm"
                options=(--set 'plugins.logins.limits.memory="256MiB"' --set 'plugins.logins.limits.cpu="2s"')
                ;;
            *)
                echo "no such language: $language" >&2
                exit 64
                ;;
        esac
        options+=(--set "node.plugin_dirs=['$built']")
        config=$example/jackfield.toml
        "$jackfield" check "$config" "${options[@]}"
        : > "$work/log"
        "$jackfield" run --config "$config" "${options[@]}" 2> "$work/log" &
        broker=$!
        for _ in $(seq 600); do
            grep -q listening "$work/log" && break
            sleep 0.1
        done
        echo "$language: anna is let in, bert and a wrong password are not, and of carl nobody knows:"
        client anna secret
        for login in "anna wrong" "bert hidden" "carl x"; do
            # shellcheck disable=SC2086
            client $login && exit 1
        done
        kill "$broker"
        wait "$broker" || true
        broker=
    done
done
