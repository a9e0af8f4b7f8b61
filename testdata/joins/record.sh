#!/usr/bin/env bash
# Records capture.pcap.zst and expected.tsv anew: nginx, aria2c, curl and wget on the loopback of a network namespace, tcpdump beside
# them. Nothing leaves the machine. The bodies are the same each time; ports, times and the server's dates are not.
# Usage: sudo ./record.sh
set -euo pipefail
cd "$(dirname "$0")"
say() { printf 'record.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "a network namespace and tcpdump need root; run it with sudo."; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need unshare util-linux; need ip iproute2; need tcpdump tcpdump; need nginx nginx-light; need curl curl; need wget wget
need aria2c aria2; need python3 python3; need zstd zstd
[ ${#missing[@]} = 0 ] || { say "missing, install first: apt-get install ${missing[*]}"; exit 1; }
if [ "${1:-}" != --inside ]; then exec unshare -n "$0" --inside; fi

ip link set lo up
work=$(mktemp -d); chmod 755 "$work"; mkdir "$work/got"
nginx= ; dump=
cleanup() { set +e; [ -z "$nginx" ] || kill "$nginx"; [ -z "$dump" ] || kill "$dump"; wait; rm -rf "$work"; }
trap cleanup EXIT

# ---- the site: lines that tell where they are, so that no two places are alike and all of it packs well
python3 - "$work/site" <<'PY'
import gzip, os, sys
site = sys.argv[1]; os.makedirs(site)
def write(name, seed, size):
    line = lambda n: b"%s %08x of the file whose parts are joined, and no other one\n" % (seed, n)
    data = b"".join(line(n) for n in range(size // 60 + 1))[:size]
    open(f"{site}/{name}", "wb").write(data)
    return data
for name in "aria4.bin", "aria16.bin": write(name, name.encode(), 4 << 20)
for name in "pieces.bin", "resumed.bin", "continued.bin", "several.bin", "weak.bin", "missing.bin", "changed.bin", "other.bin", "clients.bin":
    write(name, name.encode(), 200_000)
coded = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(20_000))
open(f"{site}/coded.txt", "wb").write(coded)
open(f"{site}/coded.txt.gz", "wb").write(gzip.compress(coded, mtime=0))
PY
find "$work/site" -type f -exec touch -d '2012-03-02 07:51:50 UTC' {} +

cat > "$work/nginx.conf" <<NGINX
daemon off; worker_processes 1; user root; pid $work/nginx.pid; error_log $work/error.log warn;
events { worker_connections 64; }
http {
    types { text/plain txt; application/octet-stream bin; }
    access_log off; client_body_temp_path $work/body; proxy_temp_path $work/t1; fastcgi_temp_path $work/t2; uwsgi_temp_path $work/t3; scgi_temp_path $work/t4;
    server {
        listen 127.0.0.1:8080; root $work/site;
        location /resumed.bin   { limit_rate 100k; }
        location /continued.bin { limit_rate 100k; }
        location = /coded.txt   { alias $work/site/coded.txt.gz; default_type text/plain; add_header Content-Encoding gzip; }
        location /weak.bin      { etag off; add_header Last-Modified ""; add_header ETag 'W/"weak"'; }
    }
}
NGINX
nginx -c "$work/nginx.conf" -e "$work/error.log" & nginx=$!
for _ in $(seq 50); do curl -sf -o /dev/null http://127.0.0.1:8080/weak.bin && break; sleep 0.1; done
tcpdump -i lo -s 0 -B 32768 -n -Z root --time-stamp-precision=nano -w "$work/capture.pcap" tcp port 8080 2>"$work/tcpdump.err" & dump=$!
for _ in $(seq 50); do grep -q listening "$work/tcpdump.err" && break; sleep 0.1; done
sleep 0.5

url=http://127.0.0.1:8080
get() { curl -s -o "$work/got/last" "$@"; sleep 0.1; }
rows=$work/rows; printf '#uri\tparts\tstate\tsent_sha256\tsha256\tmissing\n' > "$rows"
sha() { sha256sum "$1" | cut -d' ' -f1; }
# row URI PARTS STATE SENT CONTENT MISSING: what must come out; PARTS - is any number.
row() { printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@" >> "$rows"; }
same() { cmp "$1" "$work/site/$2" || { say "$2 was not received as it is"; exit 1; }; }

# aria2c splits from a MiB on; with four and with sixteen connections.
aria2c -q -x4 -s4 -k1M --file-allocation=none -d "$work/got" $url/aria4.bin; same "$work/got/aria4.bin" aria4.bin
aria2c -q -x16 -s16 -k1M --file-allocation=none -d "$work/got" $url/aria16.bin; same "$work/got/aria16.bin" aria16.bin
for name in aria4.bin aria16.bin; do row /$name - complete - "$(sha "$work/site/$name")" -; done
# Pieces, the last first, two of them overlapping.
get -r 150000- $url/pieces.bin; get -r 0-79999 $url/pieces.bin; get -r 70000-159999 $url/pieces.bin
row /pieces.bin 3 complete - "$(sha "$work/site/pieces.bin")" -
# The same by two clients, of which none has all.
get -A one -r 0-119999 $url/clients.bin; get -A two -r 100000-199999 $url/clients.bin
row /clients.bin 2 complete - "$(sha "$work/site/clients.bin")" -
# Broken off and resumed.
curl -s -m 1 -o "$work/got/resumed.bin" $url/resumed.bin || true
curl -s -C - -o "$work/got/resumed.bin" $url/resumed.bin; same "$work/got/resumed.bin" resumed.bin
row /resumed.bin 2 complete - "$(sha "$work/site/resumed.bin")" -
(cd "$work/got"; timeout 1 wget -q $url/continued.bin || true; wget -q -c $url/continued.bin); same "$work/got/continued.bin" continued.bin
row /continued.bin 2 complete - "$(sha "$work/site/continued.bin")" -
# Several ranges in one answer.
get -r 0-49999,100000-199999 $url/several.bin; get -r 50000-99999 $url/several.bin
row /several.bin 3 complete - "$(sha "$work/site/several.bin")" -
# Ranges of coded bytes.
length=$(stat -c %s "$work/site/coded.txt.gz")
get -H 'Accept-Encoding: gzip' -r 0-9999 $url/coded.txt; get -H 'Accept-Encoding: gzip' -r 10000-$((length - 1)) $url/coded.txt
row /coded.txt 2 complete "$(sha "$work/site/coded.txt.gz")" "$(sha "$work/site/coded.txt")" -
# Nothing but a weak entity tag.
get -r 0-99999 $url/weak.bin; get -r 100000-199999 $url/weak.bin
row /weak.bin 2 candidate - "$(sha "$work/site/weak.bin")" -
# One part is not asked for. An answer to HEAD and one that nothing is in the range are no parts.
get -r 0-79999 $url/missing.bin; get -r 120000-199999 $url/missing.bin; get -I -r 80000-119999 $url/missing.bin; get -r 200000- $url/missing.bin
row /missing.bin 2 missing - - 80000-119999
# Another file under the same name.
get -r 0-99999 $url/changed.bin
tac "$work/site/changed.bin" > "$work/other"; cat "$work/other" > "$work/site/changed.bin"; touch -d '2012-03-03 07:51:50 UTC' "$work/site/changed.bin"
get -r 100000-199999 $url/changed.bin
row /changed.bin 1 missing - - 100000-199999; row /changed.bin 1 missing - - 0-99999
# Another file with the same entity tag, which nginx makes of time and length.
get -r 0-119999 $url/other.bin; first=$work/first; cp "$work/site/other.bin" "$first"
tac "$work/site/other.bin" > "$work/other"; cat "$work/other" > "$work/site/other.bin"; touch -d '2012-03-02 07:51:50 UTC' "$work/site/other.bin"
get -r 100000-199999 $url/other.bin
{ head -c 120000 "$first"; tail -c +120001 "$work/other"; } > "$work/mixed"
row /other.bin 2 conflicting - "$(sha "$work/mixed")" -

sleep 1
kill -INT $dump; wait $dump || true; dump=
grep -q '^0 packets dropped by kernel' "$work/tcpdump.err" || { say "tcpdump lost frames, record again: $(cat "$work/tcpdump.err")"; exit 1; }
zstd -q -19 --long=24 -f "$work/capture.pcap" -o capture.pcap.zst
mv "$rows" expected.tsv
chmod 644 capture.pcap.zst expected.tsv
say "$(stat -c %s capture.pcap.zst) bytes, $(tcpdump -r "$work/capture.pcap" -n 2>/dev/null | wc -l) frames, made with:"
nginx -v 2>&1; aria2c --version | head -1; curl --version | head -1; wget --version | head -1; tcpdump --version 2>&1 | head -2; uname -sr
