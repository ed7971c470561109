#!/usr/bin/env bash
# Builds the guests whose .wasm is committed, and writes beside each what it was built from: NAME.wasm.sha256, to be read by
# `sha256sum -c` in the root of the repository. A test (tests/tidy/guests.rs) says when a source has changed since.
#
#   examples/build-wasm.sh            builds all of them
#   examples/build-wasm.sh --check    builds them elsewhere and compares, where the recorded compiler is there
#
# Rust: the target wasm32-unknown-unknown comes from rustup, or from Debian's packages rustc-web, cargo-web, rust-web-src and lld-19.
# C: see examples/wasm-auth/c/build.sh; without a compiler for it, the committed one stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# the artefact, and the package that it is built from; "c": the folder's build.sh
guests=(
    "examples/wasm-auth/auth.wasm example-wasm-auth"
    "examples/wasm-auth/c/auth.wasm c"
    "examples/wasm-bridge/webhook.wasm example-wasm-bridge"
    "examples/wasm-store/remote.wasm example-wasm-store"
    "examples/wasm-transform/telemetry.wasm example-wasm-transform"
)

target=wasm32-unknown-unknown
cargo=(cargo)
rustc=(rustc)

find_target() {
    if [ -d "$(rustc --print target-libdir --target $target 2> /dev/null)" ]; then
        return
    fi
    if command -v rustup > /dev/null && rustup target add $target >&2; then
        return
    fi
    if [ -x /usr/bin/cargo ] && [ -x /usr/bin/wasm-ld-19 ] && compgen -G '/usr/src/rustc*' > /dev/null; then
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld-19
        cargo=(/usr/bin/cargo -Zbuild-std=core,alloc)
        rustc=(/usr/bin/rustc)
        return
    fi
    cat >&2 << 'END'
There is no Rust target for Wasm here. One of these brings it:
  rustup target add wasm32-unknown-unknown
  apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19
END
    exit 69
}

# Says which compiler would build; nothing: none is there.
compiler() {
    if [ "$1" != c ]; then
        "${rustc[@]}" --version
    elif command -v zig > /dev/null; then
        echo "zig $(zig version)"
    elif python3 -c 'import ziglang' 2> /dev/null; then
        echo "zig $(python3 -m ziglang version)"
    elif command -v clang > /dev/null && [ -d /usr/include/wasm32-wasi ]; then
        clang --version | head -n 1
    fi
}

# The same bytes on every machine: no path of this one in them.
build() {
    local package=$1 folder=$2 out=$3 flags=("--remap-path-prefix=$PWD=.") index
    if [ "$package" = c ]; then
        "$folder/build.sh" "$out" > /dev/null
    else
        for index in "$(realpath "${CARGO_HOME:-$HOME/.cargo}")"/registry/src/*; do
            flags+=("--remap-path-prefix=$index=deps")
        done
        RUSTFLAGS="${flags[*]}" "${cargo[@]}" build --quiet --locked --profile wasm --target $target -p "$package" --lib
        cp "${CARGO_TARGET_DIR:-target}/$target/wasm/${package//-/_}.wasm" "$out"
    fi
    chmod 644 "$out"
}

sources() {
    if [ "$1" = c ]; then
        find "$2" plugin-api/wit -name '*.[cho]' -o -name '*.wit'
    else
        find "$2/src" "$2/Cargo.toml" sdk/src/wasm plugin-api/wit -type f ! -name '*.md'
    fi | LC_ALL=C sort
}

find_target
same=0
for guest in "${guests[@]}"; do
    read -r artefact package <<< "$guest"
    folder=${artefact%/*}
    record=$artefact.sha256
    compiler=$(compiler "$package")
    if [ "${1:-}" = --check ] && ! grep -qxF "# $compiler" "$record"; then
        echo "NOT COMPARED: $artefact is of $(sed -n 's/^# //p' "$record"), here is ${compiler:-no compiler for it}" >&2
    elif [ "${1:-}" = --check ]; then
        again=$(mktemp)
        build "$package" "$folder" "$again"
        cmp "$again" "$artefact"
        rm "$again"
        same=$((same + 1))
    elif [ -z "$compiler" ]; then
        echo "NOT BUILT: $artefact, there is no compiler for it here" >&2
    else
        build "$package" "$folder" "$PWD/$artefact"
        {
            echo "# $compiler"
            sha256sum "$artefact"
            sources "$package" "$folder" | xargs sha256sum
        } > "$record"
        printf '%-42s %7d bytes\n' "$artefact" "$(wc -c < "$artefact")"
    fi
done
[ "${1:-}" != --check ] || echo "$same of ${#guests[@]} guests are what their sources give"
