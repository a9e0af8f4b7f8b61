#!/usr/bin/env bash
# Records capture.pcap and expected.tsv anew: several servers and a proxy in one network namespace, their clients in another,
# tcpdump between them. Nothing leaves the machine. Decoded, the bodies are the same each time, but for nginx's boundary of
# byte ranges; ports, times and the servers' dates are not.
# Usage: sudo ./record.sh
set -euo pipefail
cd "$(dirname "$0")"

# ---- what is needed
say() { printf 'record.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "network namespaces and tcpdump need root; run it with sudo."; exit 1; }
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
PATH=/usr/bin:$PATH:/usr/sbin:/sbin # Debian's python3 first, which sees Debian's packages
brotli=/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so
need ip iproute2; need ethtool ethtool; need tcpdump tcpdump; need nginx nginx-light; need curl curl; need python3 python3
need caddy caddy; need lighttpd lighttpd; need tinyproxy tinyproxy-bin; need websocketd websocketd
[ -e $brotli ] || missing+=(libnginx-mod-http-brotli-filter)
[ -e /usr/lib/lighttpd/mod_deflate.so ] || missing+=(lighttpd-mod-deflate)
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
gzip -9n < "$work/site/notes.txt" > "$work/site/packed.txt"
find "$work/site" -type f -exec touch -d '2012-03-02 07:51:50 UTC' {} +
mkdir "$work/put"

# ---- the network: offloads off, so that frames on the wire are at most 1514 bytes and have right checksums
ip netns add $srv; ip netns add $cli
ip -n $srv link add eth0 type veth peer name eth1
ip -n $srv link set eth1 netns $cli; ip -n $cli link set eth1 name eth0
for ns in $srv $cli; do
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip netns exec $ns ethtool -K eth0 tso off gso off gro off tx off rx off >/dev/null 2>&1
    ip -n $ns link set lo up; ip -n $ns link set eth0 up
done
names=(nginx caddy lighttpd python socket proxy) # .example, at 203.0.113.9 and so on
mkdir -p /etc/netns/$srv # what `ip netns exec` shows there
for n in "${!names[@]}"; do
    ip -n $srv addr add 203.0.113.$((9 + n))/24 dev eth0
    printf '203.0.113.%d %s.example\n' $((9 + n)) "${names[n]}" >> /etc/netns/$srv/hosts
done
ip -n $srv route add 10.0.0.0/24 dev eth0
ip -n $cli addr add 10.0.0.5/24 dev eth0; ip -n $cli route add 203.0.113.0/24 dev eth0

# ---- the servers
cat > "$work/nginx.conf" <<NGINX
load_module $brotli;
daemon off; worker_processes 1; user root; pid $work/nginx.pid; error_log $work/error.log warn;
events { worker_connections 64; }
http {
    types { text/html html; image/png png; text/plain txt; application/octet-stream bin; }
    access_log off; keepalive_timeout 5s; client_max_body_size 1m;
    client_body_temp_path $work/body; proxy_temp_path $work/t1; fastcgi_temp_path $work/t2; uwsgi_temp_path $work/t3; scgi_temp_path $work/t4;
    server {
        listen 203.0.113.9:80; server_name nginx.example; root $work/site;
        location /br/    { alias $work/site/; brotli on; brotli_types *; brotli_min_length 20; }
        # A file that is packed already, said to be so, and packed once more: two lines of Content-Encoding.
        location /twice/ { alias $work/site/; add_header Content-Encoding gzip; gzip on; gzip_types *; }
        location /put/   { alias $work/put/; dav_methods PUT; }
        location /form   { default_type text/plain; return 200 "thank you\n"; }
    }
}
NGINX
cat > "$work/Caddyfile" <<CADDY
{
    admin off
    auto_https off
    servers {
        protocols h1 h2c
    }
}
http://caddy.example {
    bind 203.0.113.10
    root * $work/site
    encode zstd
    file_server
}
CADDY
cat > "$work/lighttpd.conf" <<LIGHTTPD
server.modules = ("mod_deflate")
server.bind = "203.0.113.11"
server.port = 80
server.document-root = "$work/site"
mimetype.assign = (".txt" => "text/plain", ".html" => "text/html")
deflate.mimetypes = ("text/")
deflate.allowed-encodings = ("deflate")
LIGHTTPD
cat > "$work/tinyproxy.conf" <<PROXY
Port 8888
Listen 203.0.113.14
Timeout 30
ConnectPort 80
PROXY
at_server() { ip netns exec $srv "$@" >> "$work/servers.log" 2>&1 & started+=($!); }
at_server nginx -c "$work/nginx.conf" -e "$work/error.log"
at_server env HOME="$work" caddy run --config "$work/Caddyfile" --adapter caddyfile
at_server lighttpd -D -f "$work/lighttpd.conf"
at_server python3 answer.py serve 203.0.113.12 "$work/site/notes.txt"
at_server websocketd --address=203.0.113.13 --port=80 cat
at_server tinyproxy -d -c "$work/tinyproxy.conf"
for address in 203.0.113.{9,10,11,12,13}:80 203.0.113.14:8888; do
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
# row KIND PORT ADDRESS METHOD HOST URI STATUS TYPE ENCODING SIZE SHA256 COMPLETE
row() { printf '%s\t10.0.0.5:%s\t%s' "$1" "$2" "$3"; printf '\t%s' "${@:4}"; printf '\n'; }
resolve=()
for n in "${!names[@]}"; do resolve+=(--resolve "${names[n]}.example:80:203.0.113.$((9 + n))"); done
# ask SOURCE URL [curl options]: one request on one connection; SOURCE, a file of the site, must come back. `-`: whatever
# comes is right; none: nothing comes. $sent: the file that curl sends, declared as $sent_type. $kind is
# `inner` in a tunnel; $named is the host where the request line has more than its name.
ask() {
    local source=$1 url=$2 host uri port address peer method status type encoding; shift 2
    host=${url#http://}; uri=/${host#*/}; host=${host%%/*}
    rm -f "$work/got"; : > "$work/got"
    ip netns exec $cli curl -s -A curl "${resolve[@]}" "$@" -o "$work/got" \
        -w '%{local_port}\t%{remote_ip}\t%{remote_port}\t%{method}\t%{http_code}\t%{content_type}\t%header{content-encoding}\n' "$url" > "$work/row"
    IFS=$'\x1f' read -r port address peer method status type encoding < <(tr '\t' '\037' < "$work/row") # tabs in a row are one
    [ "$source" = - ] || [ "$source" = none ] || cmp "$work/got" "$work/site/$source" || { say "$url: curl got other bytes than $source"; exit 1; }
    {
        [ -z "${sent:-}" ] || row request "$port" "$address:$peer" "$method" "$host" "$uri" "$status" "${sent_type:--}" - \
            "$(stat -c %s "$sent")" "$(sha "$sent")" yes
        [ "${kind:-response}" = response ] || row response "$port" "$address:$peer" CONNECT "$host:80" '' 200 - - 0 - -
        if [ "$source" = none ]; then row response "$port" "$address:$peer" "$method" "$host" "$uri" "$status" "${type:--}" "${encoding:--}" 0 - -
        else row "${kind:-response}" "$port" "$address:$peer" "$method" "${named:-$host}" "$uri" "$status" "${type:--}" "${encoding:--}" \
            "$(stat -c %s "$work/got")" "$(sha "$work/got")" yes; fi
    } >> "$work/expected"
    sleep 0.1
}

# Content codings.
ask notes.txt http://nginx.example/br/notes.txt --compressed
ask notes.txt http://caddy.example/notes.txt --compressed
ask notes.txt http://lighttpd.example/notes.txt --compressed
ask notes.txt http://python.example/raw --compressed # without the wrapping of zlib
ask notes.txt http://python.example/stacked --compressed
ask notes.txt http://nginx.example/twice/packed.txt --compressed
# No body, or not all of it.
ask none http://nginx.example/br/notes.txt --compressed -I
etag=$(ip netns exec $srv curl -sI http://203.0.113.9/logo.png | tr -d '\r' | sed -n 's/^ETag: //p')
ask none http://nginx.example/logo.png -H "If-None-Match: $etag"
ask - http://nginx.example/logo.png -r 1000-4999
ask - http://nginx.example/logo.png -H "If-Range: $etag" -H 'Range: bytes=-500'
ask - http://nginx.example/logo.png -r 0-99,1000-1999
ask - http://nginx.example/logo.png -r 100000-
# Bodies to the server, which says first that it wants them; one in chunks, of a length that nobody said.
sent=$work/site/upload.bin
ask none http://nginx.example/put/whole.bin -T "$sent" -H 'Expect: 100-continue'
cmp "$sent" "$work/put/whole.bin"
sent_type=application/octet-stream ask - http://nginx.example/form --data-binary @"$sent" -H 'Content-Type: application/octet-stream' -H 'Expect: 100-continue'
ask none http://nginx.example/put/chunks.bin -T - -H 'Expect: 100-continue' < "$sent"
cmp "$sent" "$work/put/chunks.bin"
sent=
# Four requests before the first answer is read.
uris=(/index.html /notes.txt /status.html /index.html)
ip netns exec $cli python3 answer.py pipeline 40001 203.0.113.9 nginx.example "${uris[@]}" > "$work/pipelined"
[ "$(grep -ac '^HTTP/1.1 200 OK' "$work/pipelined")" = 4 ] || { say "nginx did not answer all four"; exit 1; }
for uri in "${uris[@]}"; do
    case $uri in *.txt) type=text/plain ;; *) type=text/html ;; esac
    row response 40001 203.0.113.9:80 GET nginx.example "$uri" 200 $type - "$(stat -c %s "$work/site$uri")" "$(sha "$work/site$uri")" yes >> "$work/expected"
done
# Connections that go on as something else: a WebSocket, HTTP/2, and a tunnel through a proxy, with HTTP/1 in it.
port=$(ip netns exec $cli python3 answer.py socket 203.0.113.13 socket.example 'hello' 'a second line' "$(head -c 3000 "$work/site/notes.txt" | tr '\n' ' ')")
row response "$port" 203.0.113.13:80 GET socket.example /echo 101 - - 0 - - >> "$work/expected"
ip netns exec $cli curl -s -A curl --http2 "${resolve[@]}" -o "$work/got" -w '%{local_port} %{http_version}\n' http://caddy.example/status.html > "$work/row"
read -r port version < "$work/row"
[ "$version" = 2 ] || { say "caddy did not go on in HTTP/2"; exit 1; }
row response "$port" 203.0.113.10:80 GET caddy.example /status.html 101 - - 0 - - >> "$work/expected"
row inner "$port" 203.0.113.10:80 GET caddy.example /status.html 200 'text/html; charset=utf-8' - \
    "$(stat -c %s "$work/got")" "$(sha "$work/got")" yes >> "$work/expected"
cmp "$work/got" "$work/site/status.html"
proxy=(-x http://203.0.113.14:8888)
named=http://nginx.example ask status.html http://nginx.example/status.html "${proxy[@]}" # what a proxy is asked for is a whole URL
kind=inner ask logo.png http://nginx.example/logo.png "${proxy[@]}" -p
sleep 1.5
kill -INT $tcpdump; wait $tcpdump || true
grep -q '^0 packets dropped by kernel' "$work/tcpdump.err" || { say "tcpdump lost frames, record again"; exit 1; }

mv "$work/capture.pcap" capture.pcap
{ head -1 ../nginx-downloads/expected.tsv; cat "$work/expected"; } > expected.tsv
chmod 644 capture.pcap expected.tsv
say "$(stat -c %s capture.pcap) bytes, $(tcpdump -r capture.pcap -n 2>/dev/null | wc -l) frames, made with:"
nginx -v 2>&1; caddy version; lighttpd -v | head -1; tinyproxy -v; python3 --version; websocketd --version 2>&1 | head -1
curl --version | head -1; tcpdump --version 2>&1 | head -2; uname -sr
