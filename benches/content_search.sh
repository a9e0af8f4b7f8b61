#!/usr/bin/env bash
# What a search in contents costs as a whole process, on one core and on all, beside ripgrep over the same contents as files.
#
#   HTTP=/path/to/bulk.pcap benches/content_search.sh
#
# HTTP is a capture of a few hundred megabytes of HTTP/1 in the clear (benches/ingest.sh says how to take one). It is stored
# once, and the head and content of each object in it written to a file. StreamDB searches what is stored: it decompresses
# blocks, takes connections apart and undoes content codings in each search; ripgrep reads files that lie in the page cache.
#
#   ROUNDS=5          rounds; in each, every search runs once, so that what else the machine does meets all alike
#   OUT=/dev/shm      where the data folder and the files go. On tmpfs the disk does not count; the capture should lie there too
#   STREAMDB=path     the program; without it the release build is made
#   EXPRESSIONS=file  the expressions, one a line, instead of those below
#   BEFORE=path       another build of StreamDB, to be searched with beside this one
#
# Read the smallest times on a busy machine, and compare only what one run of this script gave. CPU is user and system together
# of all threads; GB/s is bytes of contents by seconds of CPU, so it is what one core does. "found" is objects, or files.
set -euo pipefail
export LC_ALL=C
HTTP=${HTTP:+$(realpath -- "$HTTP")}
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
out=${OUT:-/dev/shm}
if [ -z "$HTTP" ]; then
    echo 'content search bench: give it a capture, as in HTTP=/path/bulk.pcap benches/content_search.sh; it is left out.'
    exit 0
fi
[ -r "$HTTP" ] || { echo "content search bench: $HTTP: cannot read it" >&2; exit 1; }
if [ -z "${STREAMDB:-}" ]; then
    cargo build --release --locked -p streamdb
    STREAMDB=${CARGO_TARGET_DIR:-target}/release/streamdb
fi
cargo build --locked -p streamdb-benches --example contents
contents=${CARGO_TARGET_DIR:-target}/debug/examples/contents

work=$(mktemp -d "$out/streamdb-search.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -n "${EXPRESSIONS:-}" ]; then
    cp -- "$EXPRESSIONS" "$work/expressions"
else
    # A rare literal; words; letters of both cases; classes around a literal; classes alone; held at a line's beginning.
    cat >"$work/expressions" <<'WORDS'
zzQQnowhere
mimikatz|powershell -enc|cobaltstrike|meterpreter
(?i)this program cannot be run
[a-z]{8,}\.exe
[0-9a-f]{40}[g-z]
^HTTP/1\.1 206
WORDS
fi

"$STREAMDB" ingest --data "$work/data" "$HTTP" >/dev/null 2>"$work/said" || { cat "$work/said" >&2; exit 1; }
mkdir "$work/files"
"$contents" "$work/data" "$work/files"
size=$(find "$work/files" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d", n }')
objects=$(find "$work/files" -type f | wc -l)
# The first reading brings the files into the page cache.
cat "$work"/data/buckets/* >/dev/null
find "$work/files" -type f -exec cat {} + >/dev/null

TIMEFORMAT='%3U %3S %3R'
rows=$work/rows
measure() {
    local name=$1 number=$2 cores=$3 spent
    shift 3
    case $cores in
        1) set -- taskset -c 0 "$@" ;;
    esac
    # To find nothing is no failure of ripgrep's.
    if ! spent=$({ time "$@" >"$work/found" 2>"$work/said"; } 2>&1) && [ -s "$work/said" ]; then
        echo "content search bench: $name failed: $(tail -n 3 "$work/said")" >&2
        exit 1
    fi
    echo "$number $name $cores $(wc -l <"$work/found") $spent" >>"$rows"
}

all=$(nproc)
for ((round = 1; round <= rounds; round++)); do
    [ ! -t 2 ] || printf '\rround %s of %s' "$round" "$rounds" >&2
    number=0
    while IFS= read -r expression; do
        number=$((number + 1))
        for cores in 1 "$all"; do
            measure streamdb $number "$cores" "$STREAMDB" objects --data "$work/data" "pcre=$expression"
            [ -z "${BEFORE:-}" ] || measure before $number "$cores" "$BEFORE" objects --data "$work/data" "pcre=$expression"
            if command -v rg >/dev/null; then
                measure ripgrep $number "$cores" rg --no-config --text --no-unicode --no-ignore -l "-j$cores" -e "$expression" "$work/files"
            fi
            [ "$all" != 1 ] || break
        done
    done <"$work/expressions"
done
[ ! -t 2 ] || printf '\r' >&2

echo "$(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), rounds: $rounds, below $out"
echo "content search: $size bytes in $objects contents, $(stat -c %s "$work"/data/buckets/* | awk '{ n += $1 } END { print n }') bytes stored"
awk -v size="$size" '
    FILENAME == ARGV[1] { expression[FNR] = $0; many = FNR; next }
    {
        key = $1 SUBSEP $2 SUBSEP $3
        found[key] = $4
        cpu = $5 + $6
        if (!(key in least) || cpu < least[key]) least[key] = cpu
        if (!(key in wall) || $7 < wall[key]) wall[key] = $7
        if (!(($2, $3) in order)) { order[$2, $3] = ++n; who[n] = $2; on[n] = $3 }
    }
    END {
        for (i = 1; i <= many; i++) {
            printf "\n%s\n", expression[i]
            printf "  %-9s %5s %7s %8s %8s %10s %10s\n", "job", "cores", "found", "CPU min", "wall min", "GB/s core", "GB/s wall"
            for (j = 1; j <= n; j++) {
                key = i SUBSEP who[j] SUBSEP on[j]
                if (key in least)
                    printf "  %-9s %5s %7d %8.3f %8.3f %10.2f %10.2f\n", who[j], on[j], found[key], least[key], wall[key],
                        size / least[key] / 1e9, size / wall[key] / 1e9
            }
        }
    }' "$work/expressions" "$rows"
