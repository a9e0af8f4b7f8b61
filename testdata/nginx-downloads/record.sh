#!/usr/bin/env bash
# Records capture.pcap and expected.tsv anew: nginx and curl in two network namespaces, tcpdump between them. Nothing
# leaves the machine. The site's bytes are the same each time; ports, times and the server's dates are not.
# Usage: sudo ./record.sh
set -euo pipefail
cd "$(dirname "$0")"

# ---- what is needed
say() { printf 'record.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "network namespaces and tcpdump need root; run it with sudo."; exit 1; }
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
PATH=$PATH:/usr/sbin:/sbin
need ip iproute2; need ethtool ethtool; need tcpdump tcpdump; need nginx nginx-light; need curl curl; need python3 python3
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

# ---- the site; one fixed date, so that Last-Modified and ETag are the same each time
python3 make-site.py "$work/site"
find "$work/site" -type f -exec touch -d '2012-03-02 07:51:50 UTC' {} +

# ---- the network: offloads off, so that frames on the wire are at most 1514 bytes and have right checksums
ip netns add $srv; ip netns add $cli
ip -n $srv link add eth0 type veth peer name eth1
ip -n $srv link set eth1 netns $cli; ip -n $cli link set eth1 name eth0
for ns in $srv $cli; do
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.router_solicitations=0 2>/dev/null || true
    ip netns exec $ns ethtool -K eth0 tso off gso off gro off tx off rx off >/dev/null 2>&1
    ip -n $ns link set lo up; ip -n $ns link set eth0 up
done
ip -n $srv addr add 203.0.113.9/24 dev eth0; ip -n $srv addr add 2001:db8::9/64 dev eth0 nodad
ip -n $cli addr add 10.0.0.5/24 dev eth0;    ip -n $cli addr add 2001:db8::5/64 dev eth0 nodad
ip -n $srv route add 10.0.0.0/24 dev eth0;   ip -n $cli route add 203.0.113.0/24 dev eth0

# ---- the servers
cat > "$work/nginx.conf" <<NGINX
daemon off; worker_processes 1; user root; pid $work/nginx.pid; error_log $work/error.log warn;
events { worker_connections 64; }
http {
    types { text/html html php; image/png png; text/plain txt; application/octet-stream zip bin; }
    access_log off; keepalive_timeout 5s; client_max_body_size 1m;
    client_body_temp_path $work/body; proxy_temp_path $work/t1; fastcgi_temp_path $work/t2; uwsgi_temp_path $work/t3; scgi_temp_path $work/t4;
    server {
        listen 203.0.113.9:80; listen [2001:db8::9]:80; server_name downloads.example; root $work/site;
        location /files/     { alias $work/site/; add_header Content-Disposition attachment; }
        location /text/      { alias $work/site/; gzip on; gzip_types *; gzip_min_length 100; }
        location /live/      { alias $work/site/; ssi on; }
        location /slow/      { alias $work/site/; limit_rate 12k; }
        location /imagedump/ { alias $work/site/; add_header Content-Disposition inline; }
        location /form       { default_type text/plain; return 200 "thank you\n"; }
    }
}
NGINX
ip netns exec $srv nginx -c "$work/nginx.conf" -e "$work/error.log" & started+=($!)

cat > "$work/names.py" <<'PY'
# A name server for one name (RFC 1035 section 4), so that the capture has datagrams too; with --ask, its client.
import socket, struct, sys
def question(ident, kind): return struct.pack(">6H", ident, 0x100, 1, 0, 0, 0) + b"\x09downloads\x07example\0" + struct.pack(">HH", kind, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1:] == ["--ask"]:
    s.settimeout(3); s.connect(("203.0.113.9", 53))
    for ident, kind in ((0x1201, 1), (0x1202, 28)):
        s.send(question(ident, kind)); assert s.recv(512)[:2] == struct.pack(">H", ident)
else:
    s.bind(("203.0.113.9", 53))
    while True:
        query, peer = s.recvfrom(512)
        kind = struct.unpack(">H", query[-4:-2])[0]
        data = socket.inet_aton("203.0.113.9") if kind == 1 else socket.inet_pton(socket.AF_INET6, "2001:db8::9")
        answer = query[:2] + struct.pack(">5H", 0x8580, 1, 1, 0, 0) + query[12:]
        s.sendto(answer + struct.pack(">HHHIH", 0xC00C, kind, 1, 300, len(data)) + data, peer)
PY
ip netns exec $srv python3 "$work/names.py" & started+=($!)

for _ in $(seq 50); do
    ip netns exec $cli curl -sf -o /dev/null http://203.0.113.9/ && break
    sleep 0.1
done
sleep 1

# ---- record
ip netns exec $srv tcpdump -i eth0 -s 0 -B 16384 -n -Z root --time-stamp-precision=nano -w "$work/capture.pcap" \
    'not icmp6' 2>"$work/tcpdump.err" & tcpdump=$!; started+=($tcpdump)
for _ in $(seq 50); do grep -q listening "$work/tcpdump.err" && break; sleep 0.1; done
sleep 0.3

mkdir "$work/got"; : > "$work/rows"; n=0; args=(); sources=()
# ask SOURCE COMPLETE URI [curl options]: adds a request to the next connection. SOURCE is the file of the site that
# must come back, or `-`.
ask() {
    local source=$1 complete=$2 uri=$3; shift 3
    n=$((n + 1))
    [ ${#args[@]} = 0 ] || args+=(--next)
    : > "$work/got/$n"
    args+=(-s -A "curl" --resolve downloads.example:80:203.0.113.9 "$@" -o "$work/got/$n"
        -w "$n\t$source\t$complete\t%{local_ip}\t%{local_port}\t%{remote_ip}\t%{remote_port}\t%{method}\t%{http_code}\t%{content_type}\t%header{content-encoding}\n"
        "http://downloads.example$uri")
    printf '%s\t%s\n' "$n" "$uri" >> "$work/uris"
}
# go: one connection with what was asked for since the last one.
go() {
    ip netns exec $cli curl "${args[@]}" >> "$work/rows" || true
    args=(); sleep 0.2
}
ip netns exec $cli python3 "$work/names.py" --ask

# Several requests on one connection: page, picture, gzip in chunks, chunks, not found, HEAD, not modified, a form.
ask index.html yes /index.html
ask logo.png   yes /logo.png
ask notes.txt  yes /text/notes.txt --compressed
ask status.html yes /live/status.html
ask -          yes /missing.html
ask -          -   /files/tools.zip -I
ask -          -   /logo.png -z 'Fri, 02 Mar 2012 07:51:50 GMT'
ask -          yes '/form?step=1' -d 'name=value&note=a+form'
go
# The download.
ask tools.zip yes /files/tools.zip; go
# The same in two ranges, on two connections.
size=$(stat -c %s "$work/site/tools.zip")
ask - yes /files/tools.zip -r "0-79999"; go
ask - yes /files/tools.zip -r "80000-$((size - 1))"; go
# A program that is called a page.
ask image.php yes '/imagedump/image.php?size=0&imageid=0&resize=0&data=&thumbnail=1' -A 'updater/1.0'; go
# HTTP/1.0: the end of the connection is the end of the body.
ask status.html yes /live/status.html --http1.0; go
# A file in a form.
ask - yes '/form?step=2' -F "file=@$work/site/upload.bin;type=application/octet-stream" -F 'note=hello'; go
# IPv6, asked with the address as its name.
n=$((n + 1)); printf '%s\t%s\n' "$n" /logo.png >> "$work/uris"
ip netns exec $cli curl -s -A curl -g -o "$work/got/$n" -H 'Host: downloads.example' \
    -w "$n\tlogo.png\tyes\t%{local_ip}\t%{local_port}\t%{remote_ip}\t%{remote_port}\t%{method}\t%{http_code}\t%{content_type}\t%header{content-encoding}\n" \
    'http://[2001:db8::9]/logo.png' >> "$work/rows"
# A client that goes away in the middle.
ask - no /slow/image.php -m 0.5; go
# A port where nobody listens.
ip netns exec $cli curl -s -o /dev/null http://203.0.113.9:8081/ || true
sleep 1.5
kill -INT $tcpdump; wait $tcpdump || true
grep -q ' 0 packets dropped by kernel' "$work/tcpdump.err" || grep -q '^0 packets dropped by kernel' "$work/tcpdump.err" \
    || { say "tcpdump lost frames, record again: $(cat "$work/tcpdump.err")"; exit 1; }

# ---- what must come out: what curl got, checked against the site
sha() { sha256sum "$1" | cut -d' ' -f1; }
{
    printf '#kind\tclient\tserver\tmethod\thost\turi\tstatus\tdeclared_type\tcontent_encoding\tsize\tsha256\tcomplete\n'
    while IFS=$'\x1f' read -r id source complete cip cport sip sport method status type encoding; do
        uri=$(awk -F'\t' -v id="$id" '$1 == id { print $2 }' "$work/uris")
        got=$work/got/$id
        [ "$source" = - ] || cmp "$got" "$work/site/$source" || { say "request $id: curl got other bytes than $source"; exit 1; }
        case $cip in *:*) client="[$cip]:$cport" server="[$sip]:$sport" ;; *) client="$cip:$cport" server="$sip:$sport" ;; esac
        row() { printf '%s\t' "$1" "$client" "$server" "$method" downloads.example "$uri" "$status" "$2" "$3" "$4" "$5"; printf '%s\n' "$6"; }
        case $uri in
            '/form?step=1') printf 'name=value&note=a+form' > "$work/sent"; row request application/x-www-form-urlencoded - 22 "$(sha "$work/sent")" yes ;;
            '/form?step=2') row part application/octet-stream - 5000 "$(sha "$work/site/upload.bin")" yes
                            printf hello > "$work/sent"; row part - - 5 "$(sha "$work/sent")" yes ;;
        esac
        if [ "$complete" = - ]; then row response "${type:--}" - 0 - -
        else row response "${type:--}" "${encoding:--}" "$(stat -c %s "$got")" "$(sha "$got")" "$complete"; fi
    done < <(tr '\t' '\037' < "$work/rows")
} > "$work/expected.tsv"

mv "$work/capture.pcap" capture.pcap; mv "$work/expected.tsv" expected.tsv
chmod 644 capture.pcap expected.tsv
say "$(stat -c %s capture.pcap) bytes, $(tcpdump -r capture.pcap -n 2>/dev/null | wc -l) frames, made with:"
nginx -v 2>&1; curl --version | head -1; tcpdump --version 2>&1 | head -2; uname -sr
