#!/usr/bin/env bash
# Records capture.pcap and expected.tsv anew: nginx and curl in two network namespaces with a bad link between them
# (relay.py), tcpdump on the client's side. Nothing leaves the machine. The bodies are the same each time; ports, times
# and what is lost are not.
# Usage: sudo ./record.sh
set -euo pipefail
cd "$(dirname "$0")"

# ---- what is needed
say() { printf 'record.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "network namespaces and tcpdump need root; run it with sudo."; exit 1; }
[ -c /dev/net/tun ] || { say "/dev/net/tun is not there: the kernel needs the tun module."; exit 1; }
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
PATH=$PATH:/usr/sbin:/sbin
need ip iproute2; need tcpdump tcpdump; need nginx nginx-light; need curl curl; need python3 python3
[ ${#missing[@]} = 0 ] || { say "missing, install first: apt-get install ${missing[*]}"; exit 1; }

work=$(mktemp -d); chmod 755 "$work"
srv=sdb-srv-$$; cli=sdb-cli-$$
started=()
cleanup() {
    set +e
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    ip netns del $srv 2>/dev/null; ip netns del $cli 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
until_line() { for _ in $(seq 50); do ! grep -q "$2" "$1" 2>/dev/null || return 0; sleep 0.1; done; say "no '$2' in $1"; exit 1; }

python3 ../nginx-downloads/make-site.py "$work/site"
find "$work/site" -type f -exec touch -d '2012-03-02 07:51:50 UTC' {} +

# ---- the network
ip netns add $srv; ip netns add $cli
python3 relay.py sdba$$ sdbb$$ 1 > "$work/relay.out" & started+=($!)
until_line "$work/relay.out" ready
ip link set sdba$$ netns $srv name eth0; ip link set sdbb$$ netns $cli name eth0
for ns in $srv $cli; do
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip -n $ns link set lo up; ip -n $ns link set eth0 mtu 1500 up
done
ip -n $srv addr add 203.0.113.9/24 dev eth0; ip -n $srv route add 10.0.0.0/24 dev eth0
ip -n $cli addr add 10.0.0.5/24 dev eth0;    ip -n $cli route add 203.0.113.0/24 dev eth0

# ---- the servers
cat > "$work/nginx.conf" <<NGINX
daemon off; worker_processes 1; user root; pid $work/nginx.pid; error_log $work/error.log warn;
events { worker_connections 64; }
http {
    types { text/html html; image/png png; text/plain txt; application/octet-stream zip bin; }
    access_log off; keepalive_timeout 5s; client_max_body_size 1m;
    client_body_temp_path $work/body; proxy_temp_path $work/t1; fastcgi_temp_path $work/t2; uwsgi_temp_path $work/t3; scgi_temp_path $work/t4;
    server {
        listen 203.0.113.9:80; server_name downloads.example; root $work/site;
        location /files/ { alias $work/site/; }
        location /text/  { alias $work/site/; gzip on; gzip_types *; gzip_min_length 100; }
        location /form   { default_type text/plain; return 200 "thank you\n"; }
    }
}
NGINX
ip netns exec $srv nginx -c "$work/nginx.conf" -e "$work/error.log" & started+=($!)
ip netns exec $srv python3 talk.py echo & started+=($!)
sleep 1

# ---- record
ip netns exec $cli tcpdump -i eth0 -s 0 -B 16384 -n -Z root --time-stamp-precision=nano -w "$work/capture.pcap" \
    2>"$work/tcpdump.err" & tcpdump=$!; started+=($tcpdump)
until_line "$work/tcpdump.err" listening
sleep 0.3

sha() { sha256sum "$1" | cut -d' ' -f1; }
row() { printf '%s\t%s:%s\t203.0.113.9:80\t%s\tdownloads.example\t%s\t%s\t%s\t%s\t%s\t%s\tyes\n' "$1" 10.0.0.5 "${@:2}"; }
: > "$work/expected"
# get SOURCE URI [curl options]: one request on one connection; SOURCE, a file of the site, must come back.
get() {
    local source=$1 uri=$2 port method status type encoding; shift 2
    ip netns exec $cli curl -s -A curl --resolve downloads.example:80:203.0.113.9 "$@" -o "$work/got" \
        -w '%{local_port} %{method} %{http_code} %{content_type} %header{content-encoding}\n' "http://downloads.example$uri" > "$work/row"
    cmp "$work/got" "$work/site/$source" || { say "curl got other bytes than $source"; exit 1; }
    read -r port method status type encoding < "$work/row"
    row response "$port" "$method" "$uri" "$status" "$type" "${encoding:--}" "$(stat -c %s "$work/got")" "$(sha "$work/got")" >> "$work/expected"
}
get tools.zip /files/tools.zip
get notes.txt /text/notes.txt --compressed
get logo.png /logo.png
get index.html /index.html
port=$(ip netns exec $cli python3 talk.py wrap 203.0.113.9 "$work/site/image.php")
printf 'thank you\n' > "$work/thanks"
row request "$port" POST '/form?step=wrap' 200 application/octet-stream - 22528 "$(sha "$work/site/image.php")" >> "$work/expected"
row response "$port" POST '/form?step=wrap' 200 text/plain - 10 "$(sha "$work/thanks")" >> "$work/expected"
ip netns exec $cli python3 talk.py big 203.0.113.9
sleep 1.5
kill -INT $tcpdump; wait $tcpdump || true
grep -q '^0 packets dropped by kernel' "$work/tcpdump.err" || { say "tcpdump lost frames, record again"; exit 1; }

mv "$work/capture.pcap" capture.pcap
{ head -1 ../nginx-downloads/expected.tsv; cat "$work/expected"; } > expected.tsv
chmod 644 capture.pcap expected.tsv
say "$(stat -c %s capture.pcap) bytes, $(tcpdump -r capture.pcap -n 2>/dev/null | wc -l) frames, made with:"
nginx -v 2>&1; curl --version | head -1; tcpdump --version 2>&1 | head -2; uname -sr
