#!/usr/bin/env bash
# Runs the fuzz targets of crates/fuzz, each for FUZZ_SECONDS, or only the one named as the first argument. They begin
# from seeds/, which the tests replay too: what is found and mended belongs there. What is learnt on the way stays in corpus/.
set -euo pipefail
cd "$(dirname "$0")/../crates/fuzz"
seconds=${FUZZ_SECONDS:-60}
stop() { printf 'fuzz: %s\n' "$*" >&2; exit 1; }
cargo +nightly --version >/dev/null 2>&1 || stop "a nightly toolchain is needed: rustup toolchain install nightly"
cargo +nightly fuzz --version >/dev/null 2>&1 || stop "cargo-fuzz is needed: cargo install cargo-fuzz --locked"

if [ $# -gt 0 ]; then targets=("$1"); else mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir .); fi
for target in "${targets[@]}"; do
    printf '\n== %s for %s s\n' "$target" "$seconds"
    mkdir -p "corpus/$target"
    cargo +nightly fuzz run --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10
done
