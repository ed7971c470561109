#!/usr/bin/env bash
# Builds auth.wasm with clang, wasm-ld and wasi-libc (Debian: clang lld wasi-libc libclang-rt-dev-wasm32), or with `zig cc`
# (PyPI: ziglang). Give another place for the result as the first argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

flags=(--target=wasm32-wasi -mexec-model=reactor -std=c11 -Wall -Wextra -Os -fno-ident -Wl,-z,stack-size=65536)
sources=(auth.c bindings/guest.c bindings/guest_component_type.o)
out=${1:-auth.wasm}

if command -v zig > /dev/null; then
    compiler=(zig cc)
elif python3 -c 'import ziglang' 2> /dev/null; then
    compiler=(python3 -m ziglang cc)
elif command -v clang wasm-ld > /dev/null && [ -d /usr/include/wasm32-wasi ]; then
    compiler=(clang --sysroot=/usr)
else
    cat >&2 << 'END'
There is no C compiler for Wasm here. One of these brings it:
  pip install ziglang
  apt-get install clang lld wasi-libc libclang-rt-dev-wasm32
END
    exit 69
fi
[ "${compiler[0]}" = clang ] || flags+=(-rdynamic)
"${compiler[@]}" "${flags[@]}" -o "$out" "${sources[@]}"
echo "$out: $(wc -c < "$out") bytes, by ${compiler[*]}"
