#!/usr/bin/env bash
# Records capture.pcap, expected.tsv, urls.log and dns.log anew: nginx, dnsmasq, curl and Chromium in three network
# namespaces, tcpdump between them. Nothing leaves the machine. The bodies are the same each time, if the compiler, UPX and
# cjpeg are; ports but one, sequence numbers and parts of seconds are not.
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
need dnsmasq dnsmasq-base; need chromium chromium; need faketime faketime; need openssl openssl; need cjpeg libjpeg-turbo-progs
need i686-w64-mingw32-gcc gcc-mingw-w64-i686; need upx upx-ucl/bookworm-backports
[ ${#missing[@]} = 0 ] || { say "missing, install first: apt-get install ${missing[*]}"; exit 1; }

work=$(mktemp -d); chmod 755 "$work"
srv=sdb-srv-$$; user=sdb-user-$$; desk=sdb-desk-$$ # the servers; 10.0.0.5; 10.0.0.6
started=()
cleanup() {
    set +e
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    for ns in $srv $user $desk; do ip netns del $ns 2>/dev/null; rm -rf /etc/netns/$ns; done
    rm -rf "$work"
}
trap cleanup EXIT

# ---- the sites; one fixed date, so that Last-Modified and ETag are the same each time
python3 make-site.py "$work/site"
./make-program.sh "$work/site/bad/image.php"
find "$work/site" -type f -exec touch -d '2012-02-20 09:00:00 UTC' {} +
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=shop.example.com \
    -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null

# ---- the network: offloads off, so that frames on the wire are at most 1514 bytes and have right checksums
for ns in $srv $user $desk; do
    ip netns add $ns
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.router_solicitations=0 2>/dev/null || true
    ip -n $ns link set lo up
done
quiet() { ip netns exec "$1" ethtool -K "$2" tso off gso off gro off tx off rx off >/dev/null 2>&1 || true; }
ip -n $srv link add br0 type bridge forward_delay 0 mcast_snooping 0; ip -n $srv link set br0 up
ip -n $srv addr add 10.0.0.1/24 dev br0; ip -n $srv addr add 2001:db8:0:5::1/64 dev br0 nodad
for address in 192.0.2.30/32 192.0.2.53/32 192.0.2.80/32 198.51.100.20/32 198.51.100.21/32 203.0.113.9/32 2001:db8::30/128; do
    ip -n $srv addr add $address dev lo
done
for n in 5 6; do
    [ $n = 5 ] && ns=$user || ns=$desk
    ip -n $srv link add port$n type veth peer name eth$n; ip -n $srv link set eth$n netns $ns; ip -n $ns link set eth$n name eth0
    ip -n $srv link set port$n master br0 up; ip -n $ns link set eth0 up
    quiet $srv port$n; quiet $ns eth0
    ip -n $ns addr add 10.0.0.$n/24 dev eth0; ip -n $ns addr add 2001:db8:0:5::$n/64 dev eth0 nodad
    ip -n $ns route add default via 10.0.0.1; ip -n $ns route add default via 2001:db8:0:5::1
    mkdir -p /etc/netns/$ns; echo 'nameserver 192.0.2.53' > /etc/netns/$ns/resolv.conf # what `ip netns exec` shows there
done
quiet $srv br0

# ---- the servers. nginx's clock is faketime's: what it adds to the real one is in $work/clock.
cat > "$work/nginx.conf" <<NGINX
daemon off; worker_processes 1; user root; pid $work/nginx.pid; error_log $work/error.log warn;
env FAKETIME_TIMESTAMP_FILE; env FAKETIME_NO_CACHE; env NO_FAKE_STAT; env FAKETIME_DONT_FAKE_MONOTONIC;
events { worker_connections 64; }
http {
    types { text/html html php; text/css css; application/javascript js; image/png png; image/jpeg jpg; }
    default_type text/plain; keepalive_timeout 5s; error_page 404 /404.html;
    log_format rows '\$msec\t\$request_time\t\$remote_addr\t\$remote_port\t\$server_addr\t\$server_port\t\$request_method\t\$host\t\$request_uri\t\$status\t\$sent_http_content_type\t\$sent_http_content_encoding\t\$request_filename\t\$http_referer\t\$https';
    access_log $work/access rows;
    gzip_types text/css application/javascript; gzip_min_length 300; gzip_vary on;
    client_body_temp_path $work/body; proxy_temp_path $work/t1; fastcgi_temp_path $work/t2; uwsgi_temp_path $work/t3; scgi_temp_path $work/t4;
    server {
        listen 203.0.113.9:80; server_name bad.example; root $work/site/bad;
        keepalive_timeout 3600s;
        location = /imagedump/image.php {
            alias $work/site/bad/image.php;
            limit_rate 4k; # 22,968 bytes at 4,096 a second: the last of them go out when 5 seconds are over
            etag off; max_ranges 0; add_header Last-Modified "";
            add_header Retry-After 61867;
            add_header Content-Disposition inline;
            add_header Content-Transfer-Encoding binary;
            add_header Expires "Thu, 19 Nov 1981 08:52:00 GMT";
            add_header Cache-Control "no-store, no-cache, must-revalidate, post-check=0, pre-check=0";
            add_header Pragma no-cache;
            add_header X-Powered-By "test data of StreamDB, which does no harm to anybody.";
        }
    }
    server {
        listen 198.51.100.20:80; server_name www.news.example; root $work/site/news; gzip on;
        location = /weather.html { ssi on; gzip off; }
        location = /read { return 204; }
    }
    server { listen 198.51.100.21:80; server_name static.news.example; root $work/site/static; gzip on; }
    server {
        listen 192.0.2.30:80; listen [2001:db8::30]:80; server_name www.example.org; root $work/site/org;
        location = /books  { return 301 http://www.example.org/catalogue/; }
        location = /search { return 200 "nothing found\n"; }
    }
    server {
        listen 192.0.2.80:443 ssl http2; server_name shop.example.com; root $work/site/shop;
        ssl_certificate $work/certificate.pem; ssl_certificate_key $work/key.pem;
    }
}
NGINX
echo +0 > "$work/clock"
faketime=$(find /usr/lib -name libfaketime.so.1 | head -1)
ip netns exec $srv env LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$work/clock" FAKETIME_NO_CACHE=1 NO_FAKE_STAT=1 \
    FAKETIME_DONT_FAKE_MONOTONIC=1 nginx -c "$work/nginx.conf" -e "$work/error.log" & started+=($!)
ip netns exec $srv dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file --no-resolv --no-hosts \
    --listen-address=192.0.2.53 --bind-interfaces --local-ttl=300 --local=/example/ --local=/example.org/ --local=/example.com/ \
    --host-record=bad.example,203.0.113.9 --host-record=update.bad.example,198.51.100.66 \
    --host-record=www.news.example,198.51.100.20 --host-record=static.news.example,198.51.100.21 \
    --host-record=www.example.org,192.0.2.30,2001:db8::30 --host-record=shop.example.com,192.0.2.80 \
    2>"$work/dnsmasq.err" & started+=($!)

at_server() { ip netns exec $srv curl -s "$@"; }
for _ in $(seq 50); do at_server -o /dev/null http://192.0.2.30/ && break; sleep 0.1; done
# Answers that are in no file of the sites, asked for beforehand, unseen by tcpdump.
at_server -o "$work/moved" -H 'Host: www.example.org' http://192.0.2.30/books
at_server -o "$work/found" -H 'Host: www.example.org' -d q=lamps http://192.0.2.30/search
size=$(at_server -I http://203.0.113.9/imagedump/image.php | wc -c)
# "HTTP/1.1 200 OK" and so on: head and program together are to be 22,968 bytes. Another version of nginx has another name.
[ "$size" = 440 ] || { say "the download's head is $size bytes, not 440: change X-Powered-By"; exit 1; }

# ---- record
: > "$work/tcpdump.err"
ip netns exec $srv tcpdump -i br0 -s 0 -B 16384 -n -Z root --time-stamp-precision=nano -w "$work/recorded.pcap" \
    2>"$work/tcpdump.err" & tcpdump=$!; started+=($tcpdump)
for _ in $(seq 50); do grep -q listening "$work/tcpdump.err" && break; sleep 0.1; done

# scene HH:MM:SS: what follows happens from then on. nginx's clock goes there now, the frames' times in the end (shift.py).
scene() {
    local now then
    sleep 0.5
    now=$(date +%s%N); then=$(date -u -d "2012-03-02 $1 UTC" +%s%N)
    python3 -c 'import sys; print("%+.9f" % (int(sys.argv[1]) / 1e9))' $((then - now)) > "$work/clock.new"
    mv "$work/clock.new" "$work/clock"
    printf '%s\t%s\n' "$now" $((then - now)) >> "$work/scenes"
    sleep 0.05
}
# visit URL: 10.0.0.5's browser, always with the same profile, so that it asks whether what it has is still good.
visit() {
    ip netns exec $user chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --no-first-run \
        --no-proxy-server --disable-background-networking --disable-component-update --disable-sync --disable-quic \
        --disable-features=MediaRouter,DialMediaRouteProvider,OptimizationHints --ignore-certificate-errors \
        --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE *.example, EXCLUDE www.example.org, EXCLUDE shop.example.com' \
        --virtual-time-budget=4000 --dump-dom "$1" > "$work/dom" 2>"$work/chromium.err"
    grep -qi '<h1>' "$work/dom" || { say "Chromium did not show $1: $(tail -3 "$work/chromium.err")"; exit 1; }
}
# ask WHO [curl options] URL...: curl's requests, on one connection where they can be.
ask() {
    local who=$1 argument args=(); shift
    for argument; do case $argument in http*) args+=(-o /dev/null) ;; esac; args+=("$argument"); done
    ip netns exec $who curl -s "${args[@]}"
}

scene 07:49:36
visit http://www.news.example/
scene 07:50:41
ask $desk -4 --compressed http://www.example.org/ http://www.example.org/catalogue/ http://www.example.org/missing.html
ask $desk -4 -L http://www.example.org/books
ask $desk -4 -d 'q=lamps+on+the+quay&in=titles' http://www.example.org/search
ask $desk http://nowhere.example/ || true # there is no such name

# The download, and a client that keeps the connection open: it waits for its next turn, an hour later, until it is killed.
scene 07:51:51.05
ip netns exec $user curl -s --local-port 49211 --no-keepalive --rate 1/h -A \
    'B7B2BAC0C0C0A4ABA3C2C09F92908A9185A8C6C6C1C4C7DEC5C7C3DEAE8FC2C6C0C4|0|AK-81' -H 'Accept:' -H 'Cache-Control: no-cache' \
    -o "$work/downloaded" 'http://bad.example/imagedump/image.php?size=0&imageid=0&resize=0&data=&thumbnail=1' \
    -o /dev/null http://bad.example/never & started+=($!)
sleep 6
cmp "$work/downloaded" "$work/site/bad/image.php" || { say "curl got other bytes than the program"; exit 1; }

# What the program of the story would do next, done by curl: a name, and a port that no answer comes from.
scene 07:52:25
ask $user -m 4 http://update.bad.example:7771/ || true

scene 07:53:12
ask $desk --compressed http://www.news.example/ http://www.news.example/article/2.html http://www.news.example/weather.html
ask $desk --compressed http://static.news.example/site.css http://static.news.example/logo.png
ask $desk -k https://shop.example.com/
ask $desk -6 http://www.example.org/catalogue/
scene 07:56:40
visit http://www.news.example/article/1.html
visit https://shop.example.com/
# More than five minutes after the download's last frame.
scene 07:58:20
ask $desk --compressed http://www.news.example/article/3.html
ask $desk -I http://static.news.example/harbour.jpg
ask $desk -z 'Mon, 20 Feb 2012 09:00:00 GMT' http://static.news.example/harbour.jpg
sleep 1.5
kill -INT $tcpdump; wait $tcpdump || true
grep -q '^0 packets dropped by kernel' "$work/tcpdump.err" || { say "tcpdump lost frames, record again"; exit 1; }
python3 shift.py "$work/scenes" "$work/recorded.pcap" "$work/capture.pcap"

seen() { tcpdump -r "$work/capture.pcap" -n -tt "$@" 2>/dev/null; }
took=$(seen 'host 203.0.113.9' | awk -F. 'NR == 1 { first = $1 } END { print $1 - first }')
[ "$took" = 5 ] || { say "the download took other than 5 s, record again"; exit 1; }

# ---- what must come out: nginx's log of whom it answered, with the bytes of the files that it served
sha() { sha256sum "$1" | cut -d' ' -f1; }
grep -v -P '\ton$' "$work/access" | grep -P '^[^\t]*\t[^\t]*\t(10\.0|2001:db8:0:5)' | tr '\t' '\037' > "$work/answered"
{
    printf '#kind\tclient\tserver\tmethod\thost\turi\tstatus\tdeclared_type\tcontent_encoding\tsize\tsha256\tcomplete\n'
    while IFS=$'\x1f' read -r _ _ cip cport sip sport method host uri status type encoding file referer _; do
        case $cip in *:*) client="[$cip]:$cport" server="[$sip]:$sport" ;; *) client="$cip:$cport" server="$sip:$sport" ;; esac
        row() { printf '%s\t' "$1" "$client" "$server" "$method" "$host" "$uri" "$status" "$2" "$3" "$4" "$5"; printf '%s\n' "$6"; }
        case $uri in
            /books)  file=$work/moved ;;
            /search) file=$work/found; printf 'q=lamps+on+the+quay&in=titles' > "$work/sent"
                     row request application/x-www-form-urlencoded - 29 "$(sha "$work/sent")" yes ;;
            /read)   printf '{"page":"%s","lines":3}' "${referer#http://www.news.example}" > "$work/sent" # as site.js says it
                     row request application/json - "$(stat -c %s "$work/sent")" "$(sha "$work/sent")" yes ;;
        esac
        case "$method $status" in
            HEAD* | *304 | *204) row response "${type:--}" "${encoding:--}" 0 - - ;;
            *) [ -f "$file" ] || { say "what nginx answered to $uri is in no file"; exit 1; }
               row response "${type:--}" "${encoding:--}" "$(stat -c %s "$file")" "$(sha "$file")" yes ;;
        esac
    done < "$work/answered"
} > "$work/expected.tsv"
awk -F'\037' '{ printf "%.3f %s %s %s %s%s\n", $1 - $2, $3, $5, $7, $8, $9 }' "$work/answered" | sort -s -n -k 1,1 > urls.log
seen 'udp port 53' > dns.log

mv "$work/capture.pcap" capture.pcap; mv "$work/expected.tsv" expected.tsv
chmod 644 capture.pcap expected.tsv urls.log dns.log
say "$(stat -c %s capture.pcap) bytes, $(tcpdump -r capture.pcap -n 2>/dev/null | wc -l) frames, made with:"
nginx -v 2>&1; dnsmasq --version | head -1; curl --version | head -1; chromium --version 2>/dev/null; tcpdump --version 2>&1 | head -2
i686-w64-mingw32-gcc --version | head -1; upx --version | head -1; uname -sr
