#!/usr/bin/env bash
# From nothing to a page in the browser: builds the program, stores a small capture in a fresh folder, finds the download
# in it, and serves the folder on this machine only, until Ctrl-C. Where this user may capture, what goes over loopback to
# and from that server is captured into the same folder meanwhile. DEMO_PORT says where.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${DEMO_PORT:-8080}
target=${CARGO_TARGET_DIR:-target}
data=$target/demo-data
case=testdata/imagedump
streamdb=$target/release/streamdb

echo "== build"
cargo build --release --locked -p streamdb

echo "== store $case/capture.pcap in $data"
rm -rf "$data"
"$streamdb" ingest --data "$data" "$case/capture.pcap"

# The download of the story: what its case says of it, and the object that was found for it.
read -r sha256 < <(awk -F'\t' '$6 ~ "^/imagedump/" && $1 == "response" { print $11 }' $case/expected.tsv)
oid=$("$streamdb" objects --data "$data" --json uri=/imagedump/ kind=response |
    sed -n 's/^{"oid":"\([0-9-]*\)".*/\1/p' | head -n 1)
[ -n "$oid" ] || { echo "demo: the download is not among the objects of $data" >&2; exit 1; }

serve=("$streamdb" serve --data "$data" --listen "127.0.0.1:$port")
capture=("$streamdb" capture -i lo --filter "tcp port $port" --data "$data")

cat <<TEXT

== look at it
A log line says that 10.0.0.5 asked 203.0.113.9 for a picture. What it got, for the browser or curl:
    http://127.0.0.1:$port/streamdb/?srcip=10.0.0.5&dstip=203.0.113.9&start=2012-03-02+07:49:51&end=2012-03-02+07:52:51
The object, whole and decoded, and the frames it came in:
    curl -s 'http://127.0.0.1:$port/streamdb/?oid=$oid' | sha256sum
    curl -s 'http://127.0.0.1:$port/streamdb/?oid=$oid&as_pcap=1' -o download.pcap
sha256sum must print
    $sha256
TEXT

if [ "$(id -u)" != 0 ]; then
    cat <<TEXT
Live capture needs root. In another terminal, this captures what you ask here, too:
    sudo ${capture[0]} capture -i lo --filter 'tcp port $port' --data $data
and a second later it is here:
    http://127.0.0.1:$port/streamdb/?dstip=127.0.0.1
Ctrl-C ends it.

TEXT
    exec "${serve[@]}"
fi

cat <<TEXT
Live: what you ask here is captured from loopback as you do, and a second later it is here, downloads included:
    http://127.0.0.1:$port/streamdb/?dstip=127.0.0.1
Ctrl-C ends it.

TEXT
# Each child is told once: a second signal would end the capture before it has stored everything.
"${capture[@]}" & capturing=$!
"${serve[@]}" & serving=$!
trap 'kill -TERM $capturing $serving 2>/dev/null; wait; exit 0' TERM
# Ctrl-C reaches the children by itself.
trap 'wait; exit 0' INT
status=0
wait $serving || status=$?
kill -TERM $capturing 2>/dev/null || true
wait
exit $status
