#!/usr/bin/env bash
# How fast look-ups are, and what the index costs that makes them so: an index of 90 days and 25,920 buckets, made by a rule with the code
# of the derive loop, files merged meanwhile as it does it; then questions of all kinds that are drawn from what is there. Tables in
# Markdown.
#
#   benches/index.sh [STREAMS...]      1000000 streams and a tenth as many objects if none are named; each million takes 75 MB,
#                                      and as much again while files are merged, so 100000000 need some 16 GB of room
#
#   OUT=/var/tmp       where the data folders go: on a disk, as there is nothing cold on tmpfs; taken away at the end
#   KEEP=1             leaves them there, and asks those that are there already
#   BUCKETS=N          the rows of so many buckets are a file at first, as while they are captured; else as many as the derive
#                      loop puts together where much waits
#   ASK='warm cold'    what is asked; nothing for none
#   INDEX=path         the bench; without it the release build is made
#
# CPU is that of the thread that does it, user and system. "Warm": as much of the index in memory as goes in. "Cold": nothing of it is in
# memory before each question, as fincore(1) sees it, and the folder is opened anew for each; the disk's own memory, and that of
# the machine below a virtual one, is left as it is. Only what one run gave is to be compared.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
out=${OUT:-/var/tmp}
if [ -z "${INDEX:-}" ]; then
    cargo build --release --locked -p streamdb-benches --example index
    INDEX=${CARGO_TARGET_DIR:-target}/release/examples/index
fi
if [ -n "${KEEP:-}" ]; then
    work=$out/streamdb-index
    mkdir -p "$work"
else
    work=$(mktemp -d "$out/streamdb-index.XXXXXX")
    trap 'rm -rf "$work"' EXIT
fi
[ $# -gt 0 ] || set -- 1000000
echo "$(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
for streams; do
    data=$work/$streams
    # shellcheck disable=SC2086
    [ -e "$data.whole" ] || { rm -rf "$data"; "$INDEX" make "$data" "$streams" ${BUCKETS:-}; touch "$data.whole"; }
    for how in ${ASK-warm cold}; do
        if [ "$how" = cold ] && ! command -v fincore >/dev/null; then
            echo 'index bench: fincore(1) of util-linux is not there to see what is in memory; cold look-ups are left out' >&2
            continue
        fi
        "$INDEX" "$how" "$data"
    done
    [ -n "${KEEP:-}" ] || rm -rf "$data"
done
