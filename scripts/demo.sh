#!/usr/bin/env bash
# From nothing to a page in the browser: builds the program, stores a small capture in a fresh folder, finds the download
# in it, and serves the folder on this machine only, until Ctrl-C. DEMO_PORT says where.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${DEMO_PORT:-8080}
target=${CARGO_TARGET_DIR:-target}
data=$target/demo-data
case=testdata/nginx-downloads
streamdb=$target/release/streamdb

echo "== build"
cargo build --release --locked -p streamdb

echo "== store $case/capture.pcap in $data"
rm -rf "$data"
"$streamdb" ingest --data "$data" "$case/capture.pcap"

# The download, by what its case says of it. Each line of `objects --json` is one object.
uri=/files/tools.zip
sha256=$(awk -F'\t' -v uri=$uri '$4 == "GET" && $6 == uri && $7 == 200 { print $11 }' $case/expected.tsv)
oid=$("$streamdb" objects --data "$data" --json |
    awk -v sha="\"sha256\":\"$sha256\"" -v uri="\"uri\":\"$uri\"" '!found && index($0, sha) && index($0, uri) && index($0, "\"status\":200") {
        match($0, /"oid":"[0-9-]+"/); print substr($0, RSTART + 7, RLENGTH - 8); found = 1
    }')
[ -n "$oid" ] || { echo "demo: the download $uri is not among the objects of $data" >&2; exit 1; }

cat <<TEXT

== look at it
A search, for the browser (curl gets the same as text):
    http://127.0.0.1:$port/streamdb/?srcip=10.0.0.5&dstip=203.0.113.9
What 10.0.0.5 downloaded, whole and decoded, and the frames it came in:
    curl -s 'http://127.0.0.1:$port/streamdb/?oid=$oid' | sha256sum
    curl -s 'http://127.0.0.1:$port/streamdb/?oid=$oid&as_pcap=1' -o tools.pcap
sha256sum must print
    $sha256
Ctrl-C ends it.

TEXT
exec "$streamdb" serve --data "$data" --listen "127.0.0.1:$port"
