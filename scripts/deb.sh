#!/usr/bin/env bash
# Builds the package for Debian: the program, then what it writes of itself (man pages, completions), then all of it in one file,
# whose path is the last line.
set -euo pipefail
cd "$(dirname "$0")/.."
stop() { printf 'deb: %s\n' "$*" >&2; exit 1; }

cargo deb --version >/dev/null 2>&1 || stop "cargo-deb is missing: \`cargo install cargo-deb --locked\` brings it."
command -v dpkg-shlibdeps >/dev/null || stop "dpkg-shlibdeps is missing: \`apt-get install dpkg-dev\` brings it."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked -p streamdb ${DEB_FEATURES:+--features "$DEB_FEATURES"}
rm -rf target/packaging
"$target/release/streamdb" manual target/packaging
cargo deb --no-build --locked -p streamdb
