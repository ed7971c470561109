#!/usr/bin/env bash
# Makes a component of auth.js with componentize-js (npm), which is installed here if nobody has. Give another place for the result
# as the first argument.
set -euo pipefail
out=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/auth.wasm}")
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! command -v npm > /dev/null; then
    echo 'npm is not here: apt-get install nodejs npm' >&2
    exit 69
fi
[ -d node_modules/@bytecodealliance/componentize-js ] || npm install --no-audit --no-fund --loglevel=error >&2
node build.mjs "$out"
