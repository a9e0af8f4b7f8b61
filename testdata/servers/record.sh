#!/usr/bin/env bash
# Records ftp.pcap, mail.pcap, web.pcap and expected.tsv anew: real servers and clients talk on the loopback interface, tcpdump beside
# them. Nothing leaves the machine. The contents are the same each time, but for the certificates; ports and times are not.
# Usage: sudo ./record.sh
set -euo pipefail
cd "$(dirname "$0")"

# ---- what is needed
say() { printf 'record.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "tcpdump and the servers of mail and files need root; run it with sudo."; exit 1; }
missing=()
PATH=/usr/bin:$PATH:/usr/sbin:/sbin # Debian's python3 first
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need tcpdump tcpdump; need curl curl; need lftp lftp; need python3 python3; need openssl openssl
need vsftpd vsftpd; need postfix postfix; need swaks swaks; need dovecot dovecot-pop3d; need caddy caddy; need nginx nginx
brotli=/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so
[ -e $brotli ] || missing+=(libnginx-mod-http-brotli-filter)
[ ${#missing[@]} = 0 ] || { say "missing, install first: apt-get install ${missing[*]}"; exit 1; }

work=$(mktemp -d); chmod 755 "$work"
started=()
cleanup() {
    set +e
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    [ -e "$work/postfix/main.cf" ] && postfix -c "$work/postfix" stop 2>/dev/null
    [ -e "$work/dovecot.conf" ] && doveadm -c "$work/dovecot.conf" stop 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
server() { "$@" >> "$work/servers.log" 2>&1 & started+=($!); }
listens() { # until something listens on these ports
    for port; do
        for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)" 2>/dev/null && continue 2; sleep 0.1; done
        say "nothing listens on port $port"; cat "$work/servers.log" >&2; exit 1
    done
}

python3 ../nginx-downloads/make-site.py "$work/site"
site=$work/site
python3 make-certificates.py "$work/tls"

# ---- the recordings
recording=
begin() { # begin NAME FILTER: what is recorded from here on
    recording=$1
    : > "$work/tcpdump.err"
    tcpdump -i lo -s 0 -B 16384 -n -U -Z root --time-stamp-precision=nano -w "$work/$1.pcap" "$2" 2>"$work/tcpdump.err" & tcpdump=$!; started+=($tcpdump)
    for _ in $(seq 100); do grep -q listening "$work/tcpdump.err" && break; sleep 0.1; done
    sleep 0.3
}
end() {
    sleep 0.7
    kill -INT $tcpdump; wait $tcpdump || :
    grep -q '^0 packets dropped' "$work/tcpdump.err" || { say "tcpdump dropped packets; run it again."; exit 1; }
    mv "$work/$recording.pcap" .; chmod 644 "$recording.pcap"
    say "$recording.pcap: $(tcpdump -nr "$recording.pcap" 2>/dev/null | wc -l) frames"
}
# row PROTOCOL METHOD NAME FILE [REASON]: an object that must come out, whole or for this reason not
row() { printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$recording" "$1" "$2" "$3" "$(stat -c %s "$4")" "$(sha256sum < "$4" | cut -d' ' -f1)" "${5:-whole}" >> "$work/expected.tsv"; }
printf 'capture\tprotocol\tmethod\tname\tsize\tsha256\twhole\n' > "$work/expected.tsv"
got=$work/got

# ---- FTP: vsftpd; its data connections have ports of their own, or those of clients
mkdir -p "$work/ftp/in" "$work/ftp/pub" "$work/empty"; chmod 777 "$work/ftp/in"
cp "$site"/{logo.png,notes.txt,status.html} "$work/ftp/pub/"; : > "$work/ftp/pub/nothing"
cat > "$work/vsftpd.conf" <<CONF
listen=NO
listen_ipv6=YES
listen_port=2121
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_root=$work/ftp
no_anon_password=YES
pasv_min_port=21200
pasv_max_port=21299
secure_chroot_dir=$work/empty
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
CONF
chown root:root "$work/vsftpd.conf"
server vsftpd "$work/vsftpd.conf"
listens 2121
# The connections with which it was waited for are not recorded.
begin ftp 'tcp and not portrange 1-1023'
for how in --disable-epsv --ftp-pasv "--ftp-port 127.0.0.1 --disable-eprt" "--ftp-port 127.0.0.1"; do
    # shellcheck disable=SC2086
    curl -sS $how -o "$got" ftp://127.0.0.1:2121/pub/notes.txt; cmp "$got" "$site/notes.txt"
    row ftp RETR notes.txt "$got"
done
curl -sS -g -o "$got" 'ftp://[::1]:2121/pub/logo.png'; cmp "$got" "$site/logo.png"; row ftp RETR logo.png "$got"
curl -sS -g --ftp-port ::1 -o "$got" 'ftp://[::1]:2121/pub/logo.png'; row ftp RETR logo.png "$got"
# From a place on: what comes is the rest.
rm "$got"; curl -sS -C 1000 -o "$got" ftp://127.0.0.1:2121/pub/notes.txt; tail -c +1001 "$site/notes.txt" | cmp - "$got"
row ftp RETR notes.txt "$got" partial
curl -sS -o "$got" ftp://127.0.0.1:2121/pub/nothing
# There; and there in two pieces, the second of which is added.
curl -sS -T "$site/upload.bin" ftp://127.0.0.1:2121/in/up.bin; cmp "$work/ftp/in/up.bin" "$site/upload.bin"; row ftp STOR up.bin "$site/upload.bin"
curl -sS --ftp-port 127.0.0.1 -T "$site/upload.bin" ftp://127.0.0.1:2121/in/active.bin; row ftp STOR active.bin "$site/upload.bin"
head -c 2000 "$site/upload.bin" > "$work/first"; tail -c +2001 "$site/upload.bin" > "$work/second"
curl -sS -T "$work/first" ftp://127.0.0.1:2121/in/pieces.bin; row ftp STOR pieces.bin "$work/first"
curl -sS -a -T "$work/second" ftp://127.0.0.1:2121/in/pieces.bin; cmp "$work/ftp/in/pieces.bin" "$site/upload.bin"; row ftp APPE pieces.bin "$work/second"
# lftp: several files over one session, names with blanks, a folder that is changed to; and active.
mkdir "$work/taken"; cp "$site/logo.png" "$work/a logo.png"
lftp -c "set ftp:sync-mode on; set net:max-retries 1; open 127.0.0.1:2121; cd /pub; lcd $work/taken; get status.html; get notes.txt; cd /in; lcd $work; put 'a logo.png'; bye"
for file in status.html notes.txt; do cmp "$work/taken/$file" "$site/$file"; row ftp RETR $file "$site/$file"; done
cmp "$work/ftp/in/a logo.png" "$site/logo.png"; row ftp STOR 'a logo.png' "$site/logo.png"
lftp -c "set net:max-retries 1; set ftp:passive-mode off; open -u anonymous,x 127.0.0.1:2121; lcd $work/taken; get /pub/status.html -o again.html; bye"
cmp "$work/taken/again.html" "$site/status.html"; row ftp RETR status.html "$site/status.html"
end

# ---- mail: postfix takes it, dovecot gives it out
mkdir -p "$work/postfix" "$work/queue" "$work/state"; chown postfix "$work/state"
cat > "$work/postfix/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $work/queue
data_directory = $work/state
config_directory = $work/postfix
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.two.example
mydestination = two.example
local_recipient_maps =
local_transport = discard:
default_transport = discard:
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_tls_cert_file = $work/tls/chain.pem
smtpd_tls_key_file = $work/tls/key.pem
smtpd_tls_security_level = may
smtpd_discard_ehlo_keywords =
maillog_file = $work/postfix/maillog
maillog_file_prefixes = $work
CONF
cat > "$work/postfix/master.cf" <<CONF
2525    inet  n - n - - smtpd
pickup  unix  n - n 60 1 pickup
cleanup unix  n - n - 0 cleanup
qmgr    unix  n - n 300 1 qmgr
tlsmgr  unix  - - n 1000? 1 tlsmgr
rewrite unix  - - n - - trivial-rewrite
bounce  unix  - - n - 0 bounce
defer   unix  - - n - 0 bounce
trace   unix  - - n - 0 bounce
verify  unix  - - n - 1 verify
proxymap unix - - n - - proxymap
discard unix  - - n - - discard
anvil   unix  - - n - 1 anvil
scache  unix  - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
CONF
postfix -c "$work/postfix" start >> "$work/servers.log" 2>&1
mkdir -p "$work/box/cur" "$work/box/new" "$work/box/tmp"
python3 mails.py make "$work/mails" "$site"
for mail in "$work"/mails/*.eml; do tr -d '\r' < "$mail" > "$work/box/cur/$(basename "$mail" .eml).host:2,S"; done
chown -R mail:mail "$work/box"
cat > "$work/dovecot.conf" <<CONF
base_dir = $work/dovecot
state_dir = $work/dovecot
log_path = $work/dovecot.log
protocols = pop3
listen = 127.0.0.1
service pop3-login {
  chroot =
  inet_listener pop3 { 
    port = 2110
  }
  inet_listener pop3s { 
    port = 0
  }
}
ssl = yes
ssl_cert = <$work/tls/chain.pem
ssl_key = <$work/tls/key.pem
disable_plaintext_auth = no
mail_location = maildir:$work/box
first_valid_uid = 1
passdb { 
  driver = static 
  args = password=secret 
}
userdb { 
  driver = static 
  args = uid=mail gid=mail home=$work/box 
}
CONF
dovecot -c "$work/dovecot.conf" >> "$work/servers.log" 2>&1
listens 2525 2110
begin mail 'tcp port 2525 or tcp port 2110'
# Each way to send; then all of them fetched.
python3 mails.py send "$work/mails"
for mail in "$work"/mails/*.eml; do
    python3 mails.py parts "$mail" "$work/parts"
    for how in $(cat "$work/parts/ways"); do
        protocol=${how%:*}; method=${how#*:}
        row "$protocol" "$method" "$(basename "$mail")" "$mail"
        for part in "$work"/parts/named/*; do [ -e "$part" ] && row "$protocol" "$method" "$(basename "$part")" "$part"; done
    done
    rm -r "$work/parts"
done
swaks --server 127.0.0.1:2525 --from a@one.example --to b@two.example --helo pc.one.example --header 'Message-Id: <swaks@one.example>' \
    --header 'Date: Thu, 01 Jan 2026 00:00:00 +0000' --attach-name logo.png --attach-type image/png --attach "@$site/logo.png" > "$work/swaks.log"
row smtp DATA logo.png "$site/logo.png"
python3 mails.py fetch "$work/mails"
# TLS behind both; the servers show two certificates.
for how in "smtp -name pc.one.example -connect 127.0.0.1:2525" "pop3 -connect 127.0.0.1:2110"; do
    # shellcheck disable=SC2086
    printf 'QUIT\r\n' | openssl s_client -quiet -tls1_2 -servername mx.two.example -starttls $how > "$work/s_client.log" 2>&1 || :
    row tls - mx.two.example.cer "$work/tls/leaf.der"
    row tls - 'StreamDB test authority.cer' "$work/tls/authority.der"
done
end

# ---- HTTP: codings that real servers apply; and TLS alone
cat > "$work/Caddyfile" <<CONF
{
	admin off
	auto_https off
}
http://127.0.0.1:8081 {
	root * $site
	encode zstd
	file_server
}
CONF
XDG_DATA_HOME=$work XDG_CONFIG_HOME=$work server caddy run --config "$work/Caddyfile" --adapter caddyfile
cat > "$work/nginx.conf" <<CONF
load_module $brotli;
daemon off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
    access_log off;
    client_body_temp_path $work/nginx-body;
    types { text/html html; text/plain txt; image/png png; }
    brotli on;
    brotli_types text/plain;
    server { listen 127.0.0.1:8082; root $site; }
}
CONF
server nginx -c "$work/nginx.conf"
server openssl s_server -quiet -accept 127.0.0.1:8443 -tls1_2 -cert "$work/tls/leaf.pem" -key "$work/tls/key.pem" -cert_chain "$work/tls/authority.pem" -alpn h2,http/1.1
listens 8081 8082
sleep 1
begin web 'tcp port 8081 or tcp port 8082 or tcp port 8443'
for port in 8081:zstd 8082:br; do
    for file in notes.txt status.html; do
        curl -sS --raw -H "Accept-Encoding: ${port#*:}" -D "$work/head" -o "$got" "http://127.0.0.1:${port%:*}/$file"
        grep -qi "^content-encoding: ${port#*:}" "$work/head" || { say "$file came without ${port#*:}"; exit 1; }
        row http GET "$file" "$site/$file"
    done
    curl -sS -H "Accept-Encoding: ${port#*:}" -o "$got" "http://127.0.0.1:${port%:*}/logo.png"; row http GET logo.png "$site/logo.png"
done
printf '' | openssl s_client -tls1_2 -servername mx.two.example -alpn http/1.1 -connect 127.0.0.1:8443 > "$work/s_client.log" 2>&1
row tls - mx.two.example.cer "$work/tls/leaf.der"
row tls - 'StreamDB test authority.cer' "$work/tls/authority.der"
end

mv "$work/expected.tsv" .; chmod 644 expected.tsv
say "$(($(wc -l < expected.tsv) - 1)) rows"
