#!/usr/bin/env bash
# What storing a capture costs as a whole process, from start to exit, beside the peers that do part of the same.
#
#   HTTP=/path/to/bulk.pcap MIX=/path/to/mixed.pcap benches/ingest.sh
#
# HTTP is bulk: large downloads in full frames, as `tcpdump -i IFACE -w bulk.pcap 'tcp port 80'` takes them while a few
# hundred megabytes are fetched (segmentation offloads off, or the frames are larger than on a wire). MIX is what a network
# really has, many small packets in many flows: any large capture, or many real ones put together by
# `mergecap -w mixed.pcap *.pcap`. Classic pcap, a few hundred megabytes; either may be left out. All tools here read both.
#
#   ROUNDS=5          rounds; in each, every job runs once, so that what else the machine does meets all alike
#   OUT=/dev/shm      where output goes. On tmpfs the disk does not count; the captures should lie there too
#   STREAMDB=path     the program; without it the release build is made
#   JOBS='fast cat'   only these jobs (see `job` below)
#
# Read the smallest CPU time on a busy machine, and compare only what one run of this script gave. CPU is user and system
# together of all threads; "x tcpflow" is the CPU beside tcpflow's of the same capture, smallest and median; "out/in" the bytes
# written (apparent) beside the capture's. Choices that rest on it: what `--compression fast` leaves raw, the size of
# writes, the store thread, and that the packet journal is on.
set -euo pipefail
export LC_ALL=C
HTTP=${HTTP:+$(realpath -- "$HTTP")} MIX=${MIX:+$(realpath -- "$MIX")}
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
out=${OUT:-/dev/shm}
jobs=${JOBS:-fast full streams tcpflow tcpdump cat copy}
captures=()
[ -z "$HTTP" ] || captures+=("http=$HTTP")
[ -z "$MIX" ] || captures+=("mix=$MIX")
if [ ${#captures[@]} -eq 0 ]; then
    echo 'ingest bench: give it captures, as in HTTP=/path/bulk.pcap MIX=/path/mixed.pcap make bench; it is left out.'
    exit 0
fi
for capture in "${captures[@]}"; do
    [ -r "${capture#*=}" ] || { echo "ingest bench: ${capture#*=}: cannot read it" >&2; exit 1; }
done
if [ -z "${STREAMDB:-}" ]; then
    cargo build --release --locked -p streamdb
    STREAMDB=${CARGO_TARGET_DIR:-target}/release/streamdb
fi
# Only storing is measured: what is derived afterwards has its own benches.
store=("$STREAMDB" ingest)
if "$STREAMDB" ingest --help | grep -q -- --no-derive; then store+=(--no-derive); fi

work=$(mktemp -d "$out/streamdb-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
rows=$work/rows

# The command of a job, in `command`; it writes below $work/out. False when its program is not there.
job() {
    local name=$1 capture=$2
    case $name in
        fast) command=("${store[@]}" --data "$work/out/data" --compression fast "$capture") ;;
        full) command=("${store[@]}" --data "$work/out/data" --compression full "$capture") ;;
        streams) command=("${store[@]}" --data "$work/out/data" --compression fast --packets off "$capture") ;;
        # tcpflow writes megabytes of notes to its standard error.
        tcpflow) command=(tcpflow -q -r "$capture" -o "$work/out/flows") ;;
        tcpdump) command=(tcpdump -r "$capture" -w "$work/out/frames") ;;
        cat) command=(cat "$capture") ;;
        copy) command=(sh -c "exec cat \"\$0\" >\"\$1\"" "$capture" "$work/out/copy") ;;
        *) echo "ingest bench: $name is no job" >&2; exit 1 ;;
    esac
    command -v "${command[0]}" >/dev/null
}

# Bash's own `time` has milliseconds; the peak of memory is GNU time's, where that is installed.
peak=()
if [ -x /usr/bin/time ]; then peak=(/usr/bin/time -q -f %M -o "$work/peak"); fi
TIMEFORMAT='%3U %3S %3R'

measure() {
    local kind=$1 capture=$2 name=$3 spent bytes
    job "$name" "$capture" || return 0
    rm -rf "$work/out"
    mkdir "$work/out"
    echo - >"$work/peak"
    if ! spent=$({ time "${peak[@]}" "${command[@]}" >/dev/null 2>"$work/said"; } 2>&1); then
        echo "ingest bench: $name failed: $(tail -n 3 "$work/said")" >&2
        exit 1
    fi
    bytes=$(find "$work/out" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d", n }')
    echo "$kind $name $spent $(cat "$work/peak") $bytes" >>"$rows"
    rm -rf "$work/out"
}

# The first reading brings a capture into the page cache.
for capture in "${captures[@]}"; do cat "${capture#*=}" >/dev/null; done
for ((round = 1; round <= rounds; round++)); do
    [ ! -t 2 ] || printf '\rround %s of %s' "$round" "$rounds" >&2
    for capture in "${captures[@]}"; do
        for name in $jobs; do measure "${capture%%=*}" "${capture#*=}" "$name"; done
    done
done
[ ! -t 2 ] || printf '\r' >&2

echo "$(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), rounds: $rounds, output below $out"
for capture in "${captures[@]}"; do
    kind=${capture%%=*} path=${capture#*=}
    size=$(stat -Lc %s "$path")
    zstd=-
    if command -v zstd >/dev/null; then zstd=$(zstd -q -3 -c "$path" | wc -c); fi
    printf '\n%s: %s bytes; zstd -3 makes %s of them\n' "$kind" "$size" "$zstd"
    awk -v kind="$kind" -v size="$size" -v zstd="$zstd" -v jobs="$jobs" '
        $1 == kind {
            n = ++count[$2]
            cpu[$2, n] = $3 + $4; sys[$2, n] = $4; wall[$2, n] = $5; out[$2] = $7
            if ($6 != "-" && $6 > rss[$2]) rss[$2] = $6
        }
        # The value of this rank (0 to 1) among those of a job.
        function ranked(values, name, rank,   i, j, v, sorted, n) {
            n = count[name]
            for (i = 1; i <= n; i++) {
                v = values[name, i]
                for (j = i; j > 1 && sorted[j - 1] > v; j--) sorted[j] = sorted[j - 1]
                sorted[j] = v
            }
            return (sorted[int(1 + rank * (n - 1))] + sorted[int(1 + rank * (n - 1) + 0.5)]) / 2
        }
        function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "-" }
        END {
            form = "%-8s %7s %7s %7s %7s %7s %9s %8s %8s %12s %7s %8s %14s\n"
            printf form, "job", "CPU min", "median", "max", "sys", "wall", "Gbit/CPUs", "ns/byte", "RSS MB", "bytes out", "out/in", "/zstd-3", "x tcpflow"
            many = split(jobs, names, " ")
            for (i = 1; i <= many; i++) {
                name = names[i]
                if (!count[name]) { printf "%-8s is not installed\n", name; continue }
                least = ranked(cpu, name, 0); middle = ranked(cpu, name, 0.5)
                beside = "-"
                if (count["tcpflow"])
                    beside = ratio(least, ranked(cpu, "tcpflow", 0)) " " ratio(middle, ranked(cpu, "tcpflow", 0.5))
                printf form, name, sprintf("%.3f", least), sprintf("%.3f", middle), sprintf("%.3f", ranked(cpu, name, 1)),
                    sprintf("%.3f", ranked(sys, name, 0.5)), sprintf("%.3f", ranked(wall, name, 0.5)),
                    ratio(size * 8 / 1e9, least), ratio(least * 1e9, size),
                    (rss[name] ? sprintf("%.0f", rss[name] / 1024) : "-"), out[name], ratio(out[name], size),
                    (zstd != "-" && out[name] ? ratio(out[name], zstd) : "-"), beside
            }
        }' "$rows"
done
