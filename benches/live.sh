#!/usr/bin/env bash
# How soon others can read what was sent: a wire between two network namespaces, `streamdb capture` at one end of it, at the other
# a sender that keeps connections open and offers a steady rate, and beside them readers in a process of their own, that look for
# what is new all the time: through the library, then, in a second run, through `streamdb serve`.
#
#   sudo benches/live.sh
#
#   CONNECTIONS=10000  TIME=40  GBITS=1   what is offered
#   READERS='library http'   which readers, one run each
#   FLAGS=''           more flags for the capture, as in '--compression fast'
#   OUT=/var/tmp       where the data folder goes: 125 MB a second at 1 Gbit/s, taken away at the end
#   STREAMDB=path LIVE=path  the program and the bench; without them the release builds are made
#
# The readers' figures hold for this machine with all of it running on it at once; what the kernel dropped is said, as it was never
# there to be read. CPU is that of the capture, all threads.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

connections=${CONNECTIONS:-10000}
seconds=${TIME:-40}
gbits=${GBITS:-1}
out=${OUT:-/var/tmp}
[ "$(id -u)" = 0 ] || { echo 'live bench: it needs root, for a wire of its own; it is left out.'; exit 0; }
if [ -z "${STREAMDB:-}" ]; then
    cargo build --release --locked -p streamdb
    STREAMDB=${CARGO_TARGET_DIR:-target}/release/streamdb
fi
if [ -z "${LIVE:-}" ]; then
    cargo build --release --locked -p streamdb-benches --example live
    LIVE=${CARGO_TARGET_DIR:-target}/release/examples/live
fi

near=streamdb-live-$$-near far=streamdb-live-$$-far
work=$(mktemp -d "$out/streamdb-live.XXXXXX")
started=()
end() {
    for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    ip netns del "$near" 2>/dev/null || true
    ip netns del "$far" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
ip netns add "$near"
ip netns add "$far"
ip -n "$near" link add near0 type veth peer name far0 netns "$far"
for place in "$near near0" "$far far0"; do
    read -r namespace interface <<<"$place"
    ip -n "$namespace" link set "$interface" addrgenmode none
    ip -n "$namespace" link set "$interface" txqueuelen 10000 up
done

echo "$(uname -sm), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg); $connections connections, $gbits Gbit/s offered for $seconds s, flags: ${FLAGS:-none}"
for reader in ${READERS:-library http}; do
    data=$work/$reader
    started=()
    # shellcheck disable=SC2086
    ip netns exec "$far" "$STREAMDB" capture -i far0 --data "$data" --json ${FLAGS:-} >"$work/summary" 2>"$work/said" &
    capture=$!
    started+=("$capture")
    until grep -qs 'capturing from' "$work/said"; do
        kill -0 "$capture" 2>/dev/null || { cat "$work/said" >&2; exit 1; }
        sleep 0.1
    done
    where=$data
    if [ "$reader" = http ]; then
        "$STREAMDB" serve --data "$data" --listen 127.0.0.1:0 2>"$work/serving" &
        started+=("$!")
        until where=$(sed -n 's,.* on http://\(.*\)/,\1,p' "$work/serving" 2>/dev/null) && [ -n "$where" ]; do sleep 0.1; done
    fi
    ip netns exec "$near" "$LIVE" send near0 "$connections" "$seconds" "$gbits" >"$work/sent" &
    sender=$!
    started+=("$sender")
    # The connections are opened first.
    sleep 3
    echo
    echo "$reader:"
    "$LIVE" "$reader" "$where" "$connections" "$(awk "BEGIN { print $seconds - 3 }")"
    wait "$sender"
    ticks=$(awk '{ print $14 + $15 }' "/proc/$capture/stat")
    own=$(awk '/RssAnon/ { print int($2 / 1024) }' "/proc/$capture/status")
    kill -TERM "$capture"
    wait "$capture"
    [ "$reader" != http ] || kill -TERM "${started[1]}"
    cat "$work/sent"
    value() { grep -o "\"$1\":[0-9]*" "$work/summary" | head -n 1 | cut -d: -f2; }
    captured=$(value frames) dropped=$(value dropped_by_kernel)
    echo "captured $captured frames, $(value captured_bytes) bytes; the kernel dropped $dropped ($(awk "BEGIN { printf \"%.2f\", 100 * $dropped / ($captured + $dropped) }") %);" \
        "$(value stored_bytes) bytes on disk; capture: $(awk "BEGIN { printf \"%.1f\", $ticks / $(getconf CLK_TCK) }") s of CPU, $own MB of its own memory"
    rm -rf "$data"
done
