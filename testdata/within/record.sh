#!/usr/bin/env bash
# Records capture.pcap and expected.tsv anew: servers in one network namespace, their clients in another, tcpdump between them. Nothing
# leaves the machine. The contents are the same each time; ports, times, masks and the servers' dates are not.
# Usage: sudo ./record.sh
set -euo pipefail
cd "$(dirname "$0")"

# ---- what is needed
say() { printf 'record.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "network namespaces and tcpdump need root; run it with sudo."; exit 1; }
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
PATH=/usr/bin:$PATH:/usr/sbin:/sbin # Debian's python3 first, which sees Debian's packages
need ip iproute2; need ethtool ethtool; need tcpdump tcpdump; need curl curl; need python3 python3
need nghttpd nghttp2-server; need nghttp nghttp2-client; need danted dante-server
python3 -c 'import websockets' 2>/dev/null || missing+=(python3-websockets)
[ ${#missing[@]} = 0 ] || { say "missing, install first: apt-get install ${missing[*]}"; exit 1; }

work=$(mktemp -d); chmod 755 "$work"
srv=sdb-srv-$$; cli=sdb-cli-$$
started=()
cleanup() {
    set +e
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    ip netns del $srv 2>/dev/null; ip netns del $cli 2>/dev/null
    rm -rf "$work" /etc/netns/$srv
}
trap cleanup EXIT

python3 ../nginx-downloads/make-site.py "$work/site"
sent=$work/site/upload.bin

# ---- the network: offloads off, so that frames on the wire are at most 1514 bytes and have right checksums
ip netns add $srv; ip netns add $cli
ip -n $srv link add eth0 type veth peer name eth1
ip -n $srv link set eth1 netns $cli; ip -n $cli link set eth1 name eth0
for ns in $srv $cli; do
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip netns exec $ns ethtool -K eth0 tso off gso off gro off tx off rx off >/dev/null 2>&1
    ip -n $ns link set lo up; ip -n $ns link set eth0 up
done
for n in 9 10 11 12; do ip -n $srv addr add 203.0.113.$n/24 dev eth0; done
mkdir -p /etc/netns/$srv # what `ip netns exec` shows there
echo '203.0.113.11 web.example' > /etc/netns/$srv/hosts
ip -n $srv route add 10.0.0.0/24 dev eth0
ip -n $cli addr add 10.0.0.5/24 dev eth0; ip -n $cli route add 203.0.113.0/24 dev eth0

# ---- the servers
cat > "$work/danted.conf" <<DANTE
logoutput: stderr
internal: 203.0.113.10 port = 1080
external: lo
external: eth0
socksmethod: none
clientmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
DANTE
at_server() { ip netns exec $srv "$@" >> "$work/servers.log" 2>&1 & started+=($!); }
at_server nghttpd --no-tls -a 203.0.113.9 -d "$work/site" --echo-upload -b 40 --trailer 'x-end: yes' 80
at_server danted -f "$work/danted.conf"
at_server python3 -m http.server --bind 203.0.113.11 --directory "$work/site" 80
at_server python3 talk.py serve 203.0.113.12
for address in 203.0.113.{11,12}:80; do
    for _ in $(seq 50); do ip netns exec $srv curl -s -o /dev/null http://$address/ && break; sleep 0.1; done
done
sleep 1

# ---- record
: > "$work/tcpdump.err"
ip netns exec $srv tcpdump -i eth0 -s 0 -B 16384 -n -Z root --time-stamp-precision=nano -w "$work/capture.pcap" \
    2>"$work/tcpdump.err" & tcpdump=$!; started+=($tcpdump)
for _ in $(seq 50); do grep -q listening "$work/tcpdump.err" && break; sleep 0.1; done
sleep 0.3

sha() { sha256sum "$1" | cut -d' ' -f1; }
# row SERVER KIND PROTOCOL METHOD HOST TARGET STATUS FILE
row() { printf '%s\t' "${@:1:7}"; printf '%s\t%s\n' "$(stat -c %s "$8")" "$(sha "$8")"; }
at_client() { ip netns exec $cli "$@"; }
empty=$work/empty; : > "$empty"
{
    printf 'server\tkind\tprotocol\tmethod\thost\ttarget\tstatus\tsize\tsha256\n'

    # Six files at once on one connection, their data mixed; nghttp says what came of each.
    asked=()
    for n in 1 2; do for file in logo.png notes.txt status.html; do asked+=("/$file?$n"); done; done
    at_client nghttp -n -s "${asked[@]/#/http://203.0.113.9}" > "$work/stat"
    for target in "${asked[@]}"; do
        grep -qE " 200 +[0-9]+K? +${target/\?/\\?}\$" "$work/stat" || { say "nghttp did not get $target"; cat "$work/stat" >&2; exit 1; }
        row 203.0.113.9:80 request http2 GET 203.0.113.9 "$target" - "$empty"
        row 203.0.113.9:80 response http2 GET 203.0.113.9 "$target" 200 "$work/site/${target%%\?*}"
    done

    # An upload that is sent back, and what is not there.
    at_client curl -s -A curl --http2-prior-knowledge --data-binary "@$sent" -o "$work/got" http://203.0.113.9/echo
    cmp "$work/got" "$sent" >&2
    row 203.0.113.9:80 request http2 POST 203.0.113.9 /echo - "$sent"
    row 203.0.113.9:80 response http2 POST 203.0.113.9 /echo 200 "$sent"
    at_client curl -s -A curl --http2-prior-knowledge -o "$work/got" http://203.0.113.9/missing
    row 203.0.113.9:80 request http2 GET 203.0.113.9 /missing - "$empty"
    row 203.0.113.9:80 response http2 GET 203.0.113.9 /missing 404 "$work/got"

    # The client of nghttp2 pads its frames, and sends priorities.
    at_client nghttp -n -b 100 'http://203.0.113.9/status.html?padded' >&2
    row 203.0.113.9:80 request http2 GET 203.0.113.9 '/status.html?padded' - "$empty"
    row 203.0.113.9:80 response http2 GET 203.0.113.9 '/status.html?padded' 200 "$work/site/status.html"

    # Through SOCKS.
    for asked in socks5:203.0.113.11 socks5h:web.example socks4:203.0.113.11; do
        scheme=${asked%:*}; host=${asked#*:}
        at_client curl -s -A curl --proxy $scheme://203.0.113.10:1080 -o "$work/got" http://$host/status.html
        cmp "$work/got" "$work/site/status.html" >&2
        row 203.0.113.10:1080 request http GET $host /status.html - "$empty"
        row 203.0.113.10:1080 response http GET $host /status.html 200 "$work/got"
    done
    # A name by SOCKS4A, which dante does not take: refused.
    at_client curl -s -A curl --proxy socks4a://203.0.113.10:1080 -o "$work/got" http://web.example/status.html && exit 1
    at_client curl -s -A curl --proxy socks5://203.0.113.10:1080 --http2-prior-knowledge -o "$work/got" http://203.0.113.9/logo.png
    cmp "$work/got" "$work/site/logo.png" >&2
    row 203.0.113.10:1080 request http2 GET 203.0.113.9 /logo.png - "$empty"
    row 203.0.113.10:1080 response http2 GET 203.0.113.9 /logo.png 200 "$work/got"

    # A WebSocket with permessage-deflate, each side's messages going on from those before; and one without.
    for how in deflate plain; do
        at_client python3 talk.py ask 203.0.113.12 $how "$work/site/notes.txt" "$work/said"
        for file in "$work"/said.*; do
            row 203.0.113.12:80 message websocket - socket.example /talk - "$file"
            row 203.0.113.12:80 echo websocket - socket.example /talk - "$file"
        done
        rm "$work"/said.*
    done
} > "$work/expected.tsv"

sleep 0.5
kill -INT $tcpdump; wait $tcpdump || :
grep -q '^0 packets dropped' "$work/tcpdump.err" || { say "tcpdump dropped packets; run it again."; exit 1; }
mv "$work/capture.pcap" "$work/expected.tsv" .
chmod 644 capture.pcap expected.tsv
say "recorded $(tcpdump -nr capture.pcap 2>/dev/null | wc -l) frames, $(($(wc -l < expected.tsv) - 1)) rows"
