#!/usr/bin/env bash
# Asks a server for what its own description of /api/v1 promises, and for what it does not, some thousand times, by
# Schemathesis (`pip install schemathesis`): over the captures in testdata, on this machine only. EXAMPLES says how many
# requests of each kind are made up for each operation; what is given to this script is given on.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v schemathesis >/dev/null || {
    echo 'schemathesis: it is not installed; `pip install schemathesis`, and put it on the PATH' >&2
    exit 1
}
target=${CARGO_TARGET_DIR:-target}
streamdb=$target/debug/streamdb
work=$(mktemp -d)
serving=
trap '[ -z "$serving" ] || kill "$serving" 2>/dev/null || true; rm -rf "$work"' EXIT

cargo build --locked -p streamdb
"$streamdb" ingest --data "$work/data" testdata/*/capture.pcap
"$streamdb" serve --data "$work/data" --listen 127.0.0.1:0 >"$work/said" 2>&1 &
serving=$!
url=
for _ in $(seq 100); do
    url=$(grep -om1 'http://127.0.0.1:[0-9]*' "$work/said" || true)
    [ -z "$url" ] || break
    sleep 0.1
done
[ -n "$url" ] || { echo "schemathesis: the server does not come up: $(cat "$work/said")" >&2; exit 1; }

export STREAMDB_URL=$url SCHEMATHESIS_HOOKS=$PWD/scripts/schemathesis_hooks.py
# It keeps what it found where it runs.
cd "$work"
schemathesis run "$url/api/v1/openapi.json" --checks all --max-examples "${EXAMPLES:-500}" "$@"
