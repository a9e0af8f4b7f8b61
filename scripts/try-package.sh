#!/usr/bin/env bash
# Tries the package as an operator has it: in a root of its own, made by debootstrap and booted with its own systemd and its own
# network, it is installed, started, reloaded, hurt, stopped, removed and purged, and each step is checked. Needs root, debootstrap
# and systemd-nspawn (Debian: systemd-container), and a Debian archive to make the root from.
#
#     scripts/try-package.sh [PACKAGE]     the newest in target/debian, if none is named
#     SUITE=bookworm                       which Debian
#     ROOT=FOLDER                          where its root is kept for the next time; by default it is made anew
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf 'try-package: %s\n' "$*"; }
stop() { printf 'try-package: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || stop "this needs root."
for program in debootstrap systemd-nspawn nsenter; do
    command -v $program >/dev/null || stop "$program is missing (Debian: debootstrap, systemd-container, util-linux)."
done
target=${CARGO_TARGET_DIR:-target}
package=${1:-$(ls -t "$target"/debian/streamdb_*.deb 2>/dev/null | head -n 1)}
[ -f "$package" ] || stop "there is no package: \`make deb\` makes it."
suite=${SUITE:-bookworm}
case $suite in bookworm) pcap=libpcap0.8 ;; *) pcap=libpcap0.8t64 ;; esac

work=$(mktemp -d)
machine=
leader() { pgrep -P "$machine" | head -n 1; }
inside() { nsenter --all --target "$(leader)" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb DEBIAN_FRONTEND=noninteractive "$@"; }
finish() {
    status=$?
    if [ -n "$machine" ]; then
        [ $status = 0 ] || inside journalctl --no-pager -u streamdb 2>/dev/null | tail -n 60 >&2 || true
        kill -KILL "$(leader)" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$work"
    exit $status
}
trap finish EXIT

base=${ROOT:-$work/base}
if [ ! -e "$base/etc/debian_version" ]; then
    say "making a root of $suite"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,curl,iproute2,procps,$pcap "$suite" "$base" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log" >&2; stop "debootstrap failed."; }
fi
root=$work/root
cp -a --reflink=auto "$base" "$root"
cp "$package" "$root/streamdb.deb"

say "booting it"
systemd-nspawn --quiet --register=no --keep-unit --private-network --machine=streamdb-try --directory="$root" --boot \
    >"$work/console.log" 2>&1 &
machine=$!
# Asks a command again and again until it is so.
until_so() {
    local what=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "$machine" 2>/dev/null || { tail -n 20 "$work/console.log" >&2; stop "it does not boot."; }
        sleep 0.2
    done
    stop "waited in vain until $what."
}
until_so "units can be started" inside systemctl is-active basic.target
say "$(inside systemctl --version | head -n 1)"

is() { [ "$2" = "$3" ] || stop "$1: it is '$2', and should be '$3'."; say "$1: $3"; }
property() { inside systemctl show -P "$1" streamdb; }
config=/etc/streamdb/streamdb.toml
# The process of the service that does this.
process() { inside pgrep -f "^/usr/bin/streamdb $1 "; }
api() { inside curl -sf "http://127.0.0.1:8080/api/v1/$1"; }

say "installing $package"
inside dpkg -i /streamdb.deb
inside dpkg -V streamdb | { ! grep -v ' c /etc/streamdb' ; } || stop "files of it are not as they were packaged."
is "it is enabled" "$(inside systemctl is-enabled streamdb || true)" disabled
is "it runs" "$(inside systemctl is-active streamdb || true)" inactive
is "its configuration" "$(inside stat -c '%U:%G %a' $config)" "root:streamdb 640"
is "the configuration as it comes" "$(inside streamdb check-config)" "$config: this is a configuration as it should be"
is "its user" "$(inside id -un streamdb)" streamdb
inside systemd-analyze verify --man=no streamdb.service
inside systemd-analyze --no-pager security streamdb.service | tail -n 1
for file in /usr/share/man/man1/streamdb.1.gz /usr/share/man/man1/streamdb-run.1.gz /usr/share/bash-completion/completions/streamdb \
    /usr/share/zsh/vendor-completions/_streamdb /usr/share/fish/vendor_completions.d/streamdb.fish; do
    # A minimal root may be told to leave documentation out.
    inside test -e $file || inside grep -rqs path-exclude /etc/dpkg/dpkg.cfg.d || stop "$file is missing."
done

say "with an interface that is not there"
if inside timeout 60 systemctl start streamdb 2>/dev/null; then stop "it starts."; fi
inside systemctl stop streamdb
inside journalctl -q --no-pager -o cat -u streamdb | grep 'could not begin'

say "capturing from lo"
inside sed -i 's/^interface = .*/interface = "lo"/' $config
began=$(date +%s%N)
inside systemctl enable --now streamdb
say "it was ready within $((($(date +%s%N) - began) / 1000000)) ms; $(property StatusText)"
is "its status" "$(property StatusText)" "capture runs, derive runs, serve runs"
for name in capture derive serve; do
    pid=$(process $name)
    is "$name: user, and whether it can get more" \
        "$(inside ps -o user= -p "$pid") $(inside awk '/^(NoNewPrivs|Seccomp):/ { printf "%s%s ", $1, $2 }' "/proc/$pid/status")" \
        "streamdb NoNewPrivs:1 Seccomp:2 "
    say "$name: $(inside awk '/^Cap(Prm|Eff|Bnd|Amb):/ { printf "%s%s ", $1, $2 }' "/proc/$pid/status")"
done
# What its own server is asked is what it captures.
api 'streams?limit=1' >/dev/null
captured() { api "objects?dstport=8080&uri=/api/v1/streams*&limit=1" | grep -q '"kind":"request"'; }
until_so "what was asked is found" captured
say "what went over lo is captured, taken apart and found"
# Of times in microseconds the last three digits of nine are zeros.
nanoseconds() { api 'streams?limit=100' | grep -qE '"start":"[^"]*\.[0-9]{6}([1-9]..|.[1-9].|..[1-9])Z"'; }
until_so "a stream has a time in nanoseconds" nanoseconds

say "reloading"
pid=$(process capture)
serves=$(process serve)
inside sed -i '0,/^#filter = .*/s//filter = "tcp port 8080"/' $config
inside systemctl reload streamdb
read_again() { inside journalctl -q --no-pager -o cat -u streamdb | grep 'the configuration was read again'; }
until_so "it says that it has read it" read_again
another_serves() { now=$(process serve) && [ "$now" != "$serves" ] && [ "$(property SubState)" = running ]; }
until_so "another process serves, and all are ready" another_serves
is "the process that captures, still" "$(process capture)" "$pid"

say "killing the process that captures"
inside kill -KILL "$pid"
runs_again() { [ "$(property StatusText)" = "capture runs (died once), derive runs, serve runs" ]; }
until_so "it runs again" runs_again
say "$(property StatusText)"
until_so "what is asked is found" captured

say "killing all of it"
main=$(property MainPID)
inside kill -KILL "$main"
another() { [ "$(property MainPID)" != "$main" ] && [ "$(property SubState)" = running ]; }
until_so "systemd has started it again" another
until_so "what is asked is found" captured

say "stopping the process that looks after the others"
inside mkdir -p /run/systemd/system/streamdb.service.d
printf '[Service]\nWatchdogSec=3s\n' | inside tee /run/systemd/system/streamdb.service.d/try.conf >/dev/null
inside systemctl daemon-reload
inside systemctl restart streamdb
main=$(property MainPID)
inside kill -STOP "$main"
until_so "the watchdog has it started again" another
inside journalctl -q --no-pager -o cat -u streamdb | grep -i 'watchdog timeout'
until_so "what is asked is found" captured

say "draining"
began=$(date +%s%N)
inside systemctl stop streamdb
took=$((($(date +%s%N) - began) / 1000000))
[ $took -lt 10000 ] || stop "it takes $took ms."
say "it took $took ms"
is "how it ended" "$(property Result)" success
is "the mode of what it captured" "$(inside stat -c '%U:%G %a' /var/lib/streamdb)" "streamdb:streamdb 750"
inside streamdb verify --data /var/lib/streamdb --deep
is "levels in the journal" "$(inside journalctl -q --no-pager -o cat -u streamdb --output-fields=MESSAGE PRIORITY=6 | grep -c 'capture: capturing from lo into /var/lib/streamdb' | sed 's/[0-9]*[1-9][0-9]*/some/')" some

say "removing it"
inside systemctl start streamdb
inside dpkg -r streamdb
is "it runs" "$(inside systemctl is-active streamdb || true)" inactive
inside test ! -e /usr/bin/streamdb -a -e $config -a -e /var/lib/streamdb/ledger || stop "what should be there is not, or the other way round."
say "purging it"
inside dpkg -P streamdb
inside test ! -e /etc/streamdb -a ! -e /var/lib/streamdb || stop "something is left."
say "all of it went as it should"
