#!/usr/bin/env bash
# Makes a component of auth.py with componentize-py (PyPI). Give another place for the result as the first argument. The contract
# is plugin.wit, here or in the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

out=${1:-auth.wasm}
if ! command -v componentize-py > /dev/null; then
    echo 'componentize-py is not here: pip install componentize-py' >&2
    exit 69
fi
wit=$(mktemp -d)
trap 'rm -rf "$wit"' EXIT
mkdir "$wit/deps"
cp world.wit "$wit/"
contract=plugin.wit
[ -f "$contract" ] || contract=../../../plugin-api/wit/plugin.wit
cp "$contract" "$wit/deps/plugin.wit"
# `--stub-wasi`: nothing of the system is imported; what asks for it fails.
componentize-py -d "$wit" -w guest componentize --stub-wasi auth -o "$out"
echo "$out: $(wc -c < "$out") bytes"
