#!/usr/bin/env bash
# From one odd line in a log to the file behind it: builds the program, stores a small capture in a fresh folder, finds the
# download in it, and serves the folder on this machine only, until Ctrl-C. Where this user may capture, what goes over loopback to
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

# The log line: when, who asked whom, and for what. The search that log searches link begins two minutes before and ends
# one minute after.
line=$(grep -F ' bad.example/' "$case/urls.log")
read -r when client server _ <<<"$line"
search="srcip=$client&dstip=$server&start=$((${when%.*} - 120))&end=$((${when%.*} + 60))"
# Each line of `streams --json` is one stream; the one to the client begins with the answer, so its oid (message 0) is the
# download's.
sha256=$(awk -F'\t' '$1 == "response" && $5 == "bad.example" { print $11 }' "$case/expected.tsv")
oid=$("$streamdb" streams --data "$data" --json "srcip=$client" "dstip=$server" direction=c |
    sed -n 's/.*"oid":"\([0-9-]*\)".*/\1/p')
[ -n "$oid" ] || { echo "demo: the download is not among the streams of $data" >&2; exit 1; }

serve=("$streamdb" serve --data "$data" --listen "127.0.0.1:$port")
capture=("$streamdb" capture -i lo --filter "tcp port $port" --data "$data")

cat <<TEXT

== look at it
A line of the web log that looks odd:
    $line
What was said then, for the browser or curl:
    http://127.0.0.1:$port/streamdb/?$search
A program. The file itself, and the frames it came in:
    curl -s 'http://127.0.0.1:$port/streamdb/?oid=$oid' | sha256sum
    curl -s 'http://127.0.0.1:$port/streamdb/?oid=$oid&as_pcap=1' -o download.pcap
sha256sum must print
    $sha256
Did it run? Where it wanted to go, and what answered:
    $streamdb streams --data $data dstip=198.51.100.66
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
