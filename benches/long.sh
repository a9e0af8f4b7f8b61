#!/usr/bin/env bash
# One long download over many buckets: stored from a pipe, derived, and handed out again whole, in ranges, raw and as frames, each
# compared with what was sent; and how much memory each of that takes. Sizes beside each other show whether memory grows with them.
#
#   benches/long.sh
#
#   SIZES='1000000000 20000000000'   bytes of the download, one run each
#   BUCKETS=25         how many buckets it is to go over
#   OUT=/var/tmp       where the data folder goes: about a twentieth of the download, which shrinks well
#   STREAMDB=path DOWNLOAD=path  the program and what makes the download; without them the release builds are made
#
# "own" is memory of the process itself at its peak; "with maps" counts what it had mapped of the buckets too, which is the page
# cache's and goes when others need it.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
out=${OUT:-/var/tmp}
buckets=${BUCKETS:-25}
if [ -z "${STREAMDB:-}" ]; then
    cargo build --release --locked -p streamdb
    STREAMDB=${CARGO_TARGET_DIR:-target}/release/streamdb
fi
if [ -z "${DOWNLOAD:-}" ]; then
    cargo build --release --locked -p streamdb-benches --example download
    DOWNLOAD=${CARGO_TARGET_DIR:-target}/release/examples/download
fi
work=$(mktemp -d "$out/streamdb-long.XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
data=$work/data

# Looks at the memory of a process until it ends: the peak of its own, and with what it has mapped.
watch() {
    local own=0 all=0 line
    while [ -r "/proc/$1/status" ]; do
        line=$(awk '/^RssAnon/ { own = $2 } /^VmHWM/ { all = $2 } END { print own + 0, all + 0 }' "/proc/$1/status" 2>/dev/null) || break
        [ "${line% *}" -le "$own" ] || own=${line% *}
        [ "${line#* }" -le "$all" ] || all=${line#* }
        echo "$own $all" >"$work/peak"
        sleep 0.1
    done
}

begin() { begun=$(date +%s.%N); }
told() {
    local name=$1
    awk -v name="$name" -v begun="$begun" -v now="$(date +%s.%N)" -v size="$size" '
        { printf "%-34s %7.1f s %7.0f MB/s   own %4d MB, with maps %5d MB\n", name, now - begun, size / (now - begun) / 1e6, $1 / 1024, $2 / 1024 }' "$work/peak"
}
same() {
    if [ "$2" = "$3" ]; then return; fi
    echo "long bench: $1 differs: $2, wanted $3" >&2
    exit 1
}
# Runs what fetches something from the server, with the server's memory watched meanwhile.
serving() {
    local name=$1
    shift
    begin
    watch "$server" &
    local watching=$!
    "$@"
    kill "$watching" 2>/dev/null || true
    wait "$watching" 2>/dev/null || true
    told "$name"
}
sum() { sha256sum | cut -d' ' -f1; }

for size in ${SIZES:-1000000000 20000000000}; do
    rm -rf "$data"
    echo
    echo "$size bytes, $buckets buckets; $(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
    truth=$("$DOWNLOAD" body "$size" | sum)
    begin
    [ -p "$work/pipe" ] || mkfifo "$work/pipe"
    "$DOWNLOAD" frames "$size" $((buckets * 10)) >"$work/pipe" &
    "$STREAMDB" ingest --data "$data" --bucket 10s --no-derive --json - <"$work/pipe" >"$work/summary" &
    pid=$!
    watch "$pid"
    wait "$pid"
    told 'ingest -'
    grep -o '"buckets":[0-9]*\|"stored_bytes":[0-9]*\|"unaccounted_payload_bytes":-\?[0-9]*\|"frames":[0-9]*' "$work/summary" | head -n 4 | tr '\n' ' '
    echo
    begin
    "$STREAMDB" derive --once --data "$data" >/dev/null &
    pid=$!
    watch "$pid"
    wait "$pid"
    told 'derive --once'
    row=$("$STREAMDB" objects --json --data "$data" kind=response)
    value() { sed -n "s/.*\"$1\":\"\?\([^\",}]*\).*/\1/p" <<<"$row"; }
    same 'the digest of the row' "$(value sha256)" "$truth"
    same 'what the row says of its completeness' "$(value complete)" true
    oid=$(value oid)

    "$STREAMDB" serve --data "$data" --listen 127.0.0.1:0 2>"$work/serving" &
    server=$!
    until url=$(sed -n 's,.* on \(http://.*\)/,\1,p' "$work/serving" 2>/dev/null) && [ -n "$url" ]; do sleep 0.1; done
    whole() { same 'the object' "$(curl -sS "$url/streamdb/?oid=$oid" | sum)" "$truth"; }
    serving 'object, whole' whole
    head=$(printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n' "$size" | wc -c)
    raw() { same 'raw=1' "$(curl -sS "$url/streamdb/?oid=$oid&raw=1" | tail -c +$((head + 1)) | sum)" "$truth"; }
    serving 'raw=1, whole' raw
    # 4 MiB around each place where another bucket begins.
    ranges() {
        local n from to
        for ((n = 1; n < buckets; n++)); do
            from=$((size / buckets * n - 2097152)) to=$((size / buckets * n + 2097152))
            same "bytes $from-$to" "$(curl -sS -r "$from-$((to - 1))" "$url/streamdb/?oid=$oid" | sum)" "$("$DOWNLOAD" body "$size" "$from" "$to" | sum)"
            same "raw bytes $from-$to" "$(curl -sS -r "$((from + head))-$((to + head - 1))" "$url/streamdb/?oid=$oid&raw=1" | sum)" "$("$DOWNLOAD" body "$size" "$from" "$to" | sum)"
        done
        same 'the last bytes' "$(curl -sS -r -1000 "$url/streamdb/?oid=$oid" | sum)" "$("$DOWNLOAD" body "$size" $((size - 1000)) "$size" | sum)"
    }
    serving "$((buckets * 2 - 1)) ranges over bucket borders" ranges
    # The frames come in a capture with 24 bytes of header, and 16 before each frame: as they went in.
    frames() {
        local sent got
        sent=$("$DOWNLOAD" frames "$size" $((buckets * 10)) | sum)
        got=$(curl -sS "$url/streamdb/?oid=$oid&as_pcap=1" | sum)
        same 'as_pcap=1' "$got" "$sent"
    }
    serving 'as_pcap=1' frames
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
done
