#!/usr/bin/env bash
# Everything that must pass before a change lands; --tests-only leaves out the checks of form. From outside comes
# nothing but what Cargo.lock names, from crates.io.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
step() { printf '\n== %s\n' "$*"; }

# Real captures of other projects, for those who have them; without them their tests say so and pass.
if [ -z "${STREAMDB_CORPUS:-}" ] && [ -d ../shared/corpus ]; then
    STREAMDB_CORPUS=$(cd ../shared/corpus && pwd)
fi
if [ -n "${STREAMDB_CORPUS:-}" ]; then
    export STREAMDB_CORPUS
    echo "captures from $STREAMDB_CORPUS are used too"
fi

# The same sample of the long runs each time, so that one tree gives one answer; `make soak` draws anew each time.
if [ -z "${STREAMDB_SOAK:-}" ]; then
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-9293}
fi

if [ "${1:-}" != --tests-only ]; then
    step "formatting: cargo fmt"
    cargo fmt --all --check

    step "lints: cargo clippy"
    cargo clippy --workspace --all-targets --locked -- -D warnings

    step "documentation: cargo doc"
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

    step "licences, sources, bans: cargo deny"
    if cargo deny --version >/dev/null 2>&1; then
        # Advisories are left to `cargo deny check advisories`: they come from outside and change from day to day.
        cargo deny --locked check licenses bans sources
    else
        echo "cargo-deny is not installed, so deny.toml is not checked; \`cargo install cargo-deny --locked\` brings it."
    fi
fi

mkdir -p "$target"
log=$target/test-output.txt
status=0
if cargo nextest --version >/dev/null 2>&1; then
    step "tests: cargo nextest"
    cargo nextest run --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
    # From the summary to the end: the count, and the names of what failed.
    closing='/^ *Summary /,$p'
else
    step "tests: cargo test"
    cargo test --workspace --lib --bins --tests --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
    closing='/^ *Running \|^test result: \|^error: /p'
fi

step "examples in the documentation: cargo test --doc"
cargo test --workspace --doc --locked 2>&1 | tee "$log.doc" || status=$?

step "the runners' last words"
sed -n "$closing" "$log"
sed -n '/^ *Doc-tests \|^test result: \|^error: /p' "$log.doc"
exit $status
