#!/usr/bin/env bash
# What finding the files in a capture costs as a whole process, from start to exit, beside peers that carve HTTP too.
#
#   HTTP=/path/to/bulk.pcap TRUTH=/path/to/bulk.truth.tsv benches/carve.sh
#
# HTTP is a classic pcap of a few hundred megabytes of HTTP/1 in the clear (benches/ingest.sh says how to take one). TRUTH,
# if there is one, says what was really sent in it, as the server's log and its files tell: tab-separated, a first line with
# the columns' names, among them `sha256`, of a body without its codings, and `complete`, 1 when all of it was sent
# (scripts/check-bodies.py has the others). Without it nothing is said of what was carved right.
#
#   ROUNDS=5          rounds; in each, every job runs once, so that what else the machine does meets all alike
#   OUT=/dev/shm      where output goes. On tmpfs the disk does not count; the capture should lie there too
#   STREAMDB=path     the program; without it the release build is made
#   JOBS='carve tcpflow'  only these jobs:
#     store     StreamDB stores the capture, and derives nothing
#     carve     StreamDB stores the capture, and finds and hashes (MD5, SHA-1, SHA-256) what is in it
#     reindex   StreamDB finds it once more in what is stored
#     tcpflow   tcpflow -e http: files of the streams and of the bodies
#     suricata  Suricata with its file store (version 2), SHA-256 of every file, and a log line for each; no rules, no limits
#               on streams and bodies, one thread
#
# Read the smallest CPU time on a busy machine, and compare only what one run of this script gave. CPU is user and system
# together of all threads. "bodies" are the complete ones of TRUTH that a job has with the right content, "contents" the
# different ones among them. What a peer has is told by the SHA-256 of the files that it wrote, made here and not counted;
# Suricata keeps equal files once, so its log says how many bodies each stands for. StreamDB's are the objects it calls
# complete.
set -euo pipefail
export LC_ALL=C
HTTP=${HTTP:+$(realpath -- "$HTTP")} TRUTH=${TRUTH:+$(realpath -- "$TRUTH")}
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
out=${OUT:-/dev/shm}
jobs=${JOBS:-store carve reindex tcpflow suricata}
if [ -z "$HTTP" ]; then
    echo 'carving bench: give it a capture, as in HTTP=/path/bulk.pcap make bench; it is left out.'
    exit 0
fi
for file in "$HTTP" ${TRUTH:+"$TRUTH"}; do
    [ -r "$file" ] || { echo "carving bench: $file: cannot read it" >&2; exit 1; }
done
if [ -z "${STREAMDB:-}" ]; then
    cargo build --release --locked -p streamdb
    STREAMDB=${CARGO_TARGET_DIR:-target}/release/streamdb
fi

work=$(mktemp -d "$out/streamdb-carve.XXXXXX")
trap 'rm -rf "$work"' EXIT
rows=$work/rows right=$work/right
: >"$right"

cat >"$work/suricata.yaml" <<'YAML'
%YAML 1.1
---
vars: {address-groups: {HOME_NET: any, EXTERNAL_NET: any}, port-groups: {HTTP_PORTS: "80"}}
stats: {enabled: no}
outputs:
  - file-store: {version: 2, enabled: yes, force-filestore: yes, stream-depth: 0, force-hash: [sha256]}
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [files: {force-magic: no}]}
logging: {default-log-level: error, outputs: [console: {enabled: yes}]}
stream: {memcap: 4gb, checksum-validation: no, reassembly: {memcap: 8gb, depth: 0}}
flow: {memcap: 1gb}
app-layer:
  protocols:
    http:
      enabled: yes
      memcap: 0
      libhtp: {default-config: {personality: IDS, request-body-limit: 0, response-body-limit: 0}}
YAML

# The command of a job, in `command`; it writes below $work/out. False when its program is not there.
job() {
    case $1 in
        store) command=("$STREAMDB" ingest --no-derive --compression fast --data "$work/out/data" "$HTTP") ;;
        carve) command=("$STREAMDB" ingest --compression fast --data "$work/out/data" "$HTTP") ;;
        reindex) command=("$STREAMDB" reindex --data "$work/out/data") ;;
        tcpflow) command=(tcpflow -q -e http -r "$HTTP" -o "$work/out/flows") ;;
        suricata)
            command=(suricata -c "$work/suricata.yaml" -S /dev/null -k none --runmode single -r "$HTTP" -l "$work/out") ;;
        *) echo "carving bench: $1 is no job" >&2; exit 1 ;;
    esac
    command -v "${command[0]}" >/dev/null
}

# The SHA-256 of each body that a job has, one a line; told by the last round.
carved() {
    case $1 in
        carve | reindex)
            "$STREAMDB" objects --json --data "$work/out/data" | grep -F '"complete":true' | grep -v -F '"kind":"stream"' |
                sed -n 's/.*"sha256":"\([0-9a-f]*\)".*/\1/p' ;;
        tcpflow) find "$work/out/flows" -name '*HTTPBODY*' -type f -print0 | xargs -0r sha256sum | cut -d' ' -f1 ;;
        suricata)
            # What it says is in a file counts when the file has it.
            find "$work/out/filestore" -type f -print0 | xargs -0r sha256sum | cut -d' ' -f1 | sort -u >"$work/written"
            sed -n 's/.*"sha256":"\([0-9a-f]*\)".*/\1/p' "$work/out/eve.json" | sort | join - "$work/written" ;;
    esac
}

# How many bodies of TRUTH are among those on standard input, each as often as it was sent at most, and how many contents.
count_right() {
    awk -F'\t' '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        NR == FNR { if ($at["complete"] == 1) { if (!sent[$at["sha256"]]++) different++; all++ } next }
        ($1 in sent) && sent[$1] > used[$1] { if (!used[$1]++) contents++; bodies++ }
        END { printf "%d/%d %d/%d\n", bodies, all, contents, different }' "$TRUTH" -
}

# Bash's own `time` has milliseconds; the peak of memory is GNU time's, where that is installed.
peak=()
if [ -x /usr/bin/time ]; then peak=(/usr/bin/time -q -f %M -o "$work/peak"); fi
TIMEFORMAT='%3U %3S %3R'

measure() {
    local name=$1 last=$2 spent bytes
    job "$name" || return 0
    rm -rf "$work/out"
    mkdir "$work/out"
    if [ "$name" = reindex ]; then
        "$STREAMDB" ingest --no-derive --compression fast --data "$work/out/data" "$HTTP" >/dev/null 2>&1
    fi
    echo - >"$work/peak"
    if ! spent=$({ time "${peak[@]}" "${command[@]}" >/dev/null 2>"$work/said"; } 2>&1); then
        echo "carving bench: $name failed: $(tail -n 3 "$work/said")" >&2
        exit 1
    fi
    bytes=$(find "$work/out" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d", n }')
    echo "$name $spent $(cat "$work/peak") $bytes" >>"$rows"
    if [ "$last" = yes ] && [ -n "$TRUTH" ] && [ "$name" != store ]; then
        echo "$name $(carved "$name" | count_right)" >>"$right"
    fi
    rm -rf "$work/out"
}

# The first reading brings the capture into the page cache.
cat "$HTTP" >/dev/null
for ((round = 1; round <= rounds; round++)); do
    [ ! -t 2 ] || printf '\rround %s of %s' "$round" "$rounds" >&2
    for name in $jobs; do measure "$name" "$([ "$round" = "$rounds" ] && echo yes || echo no)"; done
done
[ ! -t 2 ] || printf '\r' >&2

size=$(stat -Lc %s "$HTTP")
echo "$(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), rounds: $rounds, output below $out"
printf '\ncarving: %s bytes\n' "$size"
awk -v size="$size" -v jobs="$jobs" '
    FILENAME == ARGV[1] { bodies[$1] = $2; contents[$1] = $3; next }
    {
        n = ++count[$1]
        cpu[$1, n] = $2 + $3; sys[$1, n] = $3; wall[$1, n] = $4; out[$1] = $6
        if ($5 != "-" && $5 > rss[$1]) rss[$1] = $5
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
    END {
        form = "%-9s %7s %7s %7s %7s %7s %9s %8s %12s %12s %9s\n"
        printf form, "job", "CPU min", "median", "max", "sys", "wall", "ns/byte", "RSS MB", "bytes out", "bodies", "contents"
        many = split(jobs, names, " ")
        for (i = 1; i <= many; i++) {
            name = names[i]
            if (!count[name]) { printf "%-9s is not installed\n", name; continue }
            least = ranked(cpu, name, 0)
            printf form, name, sprintf("%.3f", least), sprintf("%.3f", ranked(cpu, name, 0.5)), sprintf("%.3f", ranked(cpu, name, 1)),
                sprintf("%.3f", ranked(sys, name, 0.5)), sprintf("%.3f", ranked(wall, name, 0.5)),
                sprintf("%.2f", least * 1e9 / size), (rss[name] ? sprintf("%.0f", rss[name] / 1024) : "-"), out[name],
                (bodies[name] ? bodies[name] : "-"), (contents[name] ? contents[name] : "-")
        }
    }' "$right" "$rows"
