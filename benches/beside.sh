#!/usr/bin/env bash
# How long searches take while captures are stored, derived and indexed at full speed beside them and index files are merged, and
# how long the same ones take in the same store when nothing else happens.
#
#   CAPTURE=/path/to/mixed.pcap benches/beside.sh
#
# CAPTURE is any capture of a few hundred megabytes (benches/ingest.sh says how to take one). It is ingested TIMES times, one after
# the other, each into buckets of its own.
#
#   TIMES=8            so often
#   QUIET=20           seconds of questions after it
#   OUT=/dev/shm       where the data folder goes
#   STREAMDB=path BESIDE=path  the program and the bench; without them the release builds are made
#
# Ingest and questions share the cores, so that latencies beside it are those of a machine without one to spare.
set -euo pipefail
export LC_ALL=C
CAPTURE=${CAPTURE:+$(realpath -- "$CAPTURE")}
cd "$(dirname "$0")/.."
if [ -z "$CAPTURE" ]; then
    echo 'beside bench: give it a capture, as in CAPTURE=/path/mixed.pcap benches/beside.sh; it is left out.'
    exit 0
fi
[ -r "$CAPTURE" ] || { echo "beside bench: $CAPTURE: cannot read it" >&2; exit 1; }
if [ -z "${STREAMDB:-}" ]; then
    cargo build --release --locked -p streamdb
    STREAMDB=${CARGO_TARGET_DIR:-target}/release/streamdb
fi
if [ -z "${BESIDE:-}" ]; then
    cargo build --release --locked -p streamdb-benches --example beside
    BESIDE=${CARGO_TARGET_DIR:-target}/release/examples/beside
fi
work=$(mktemp -d "${OUT:-/dev/shm}/streamdb-beside.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "$(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"

"$BESIDE" "$work/data" 3600 "$work/ended" >"$work/busy" &
asking=$!
TIMEFORMAT='%U s user, %S s system, %R s'
ingest() {
    for ((n = 1; n <= ${TIMES:-8}; n++)); do
        "$STREAMDB" ingest --again --data "$work/data" "$CAPTURE" >/dev/null 2>"$work/said" || { cat "$work/said" >&2; return 1; }
    done
}
took=$({ time ingest; } 2>&1)
touch "$work/ended"
wait "$asking"
printf '\nbeside %s ingests (%s):\n\n' "${TIMES:-8}" "$took"
cat "$work/busy"
printf '\nquiet:\n\n'
"$BESIDE" "$work/data" "${QUIET:-20}" "$work/never"
echo "load at the end $(cut -d' ' -f1-3 /proc/loadavg)"
