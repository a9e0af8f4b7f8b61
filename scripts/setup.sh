#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: a C compiler, the C library's headers, libpcap's headers; with
# --with-checks also rustfmt and clippy. Touches nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
with_checks=no
[ "${1:-}" != --with-checks ] || with_checks=yes

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || stop "cargo is missing: install Rust from https://rustup.rs, then run this again."

probe=$(mktemp)
trap 'rm -f "$probe"' EXIT
# Whether a C program that includes header $1 compiles and links with library $2.
links() {
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" |
        "${CC:-cc}" -x c - -o "$probe" ${2:+"-l$2"} 2>/dev/null
}

packages=()
if ! command -v "${CC:-cc}" >/dev/null; then
    packages=(gcc libc6-dev)
    # Without a compiler nothing can be linked; the header's place tells.
    [ -e /usr/include/pcap/pcap.h ] || packages+=(libpcap-dev)
else
    links stdio.h || packages+=(libc6-dev)
    links pcap/pcap.h pcap || packages+=(libpcap-dev)
fi

if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null ||
        stop "this needs a C compiler, the C library's headers and libpcap's headers (on Debian: ${packages[*]}); install them with this system's package manager, then run this again."
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            stop "as root, run: apt-get install ${packages[*]}  (there is no sudo here to do it), then run this again."
        as_root=(sudo)
    fi
    say "installing ${packages[*]} with apt-get"
    ${as_root[@]+"${as_root[@]}"} apt-get update -qq
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    links pcap/pcap.h pcap || stop "${packages[*]} installed, but a program with libpcap still does not link."
fi

if [ $with_checks = yes ]; then
    components=()
    cargo fmt --version >/dev/null 2>&1 || components+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || components+=(clippy)
    if [ ${#components[@]} -gt 0 ]; then
        command -v rustup >/dev/null ||
            stop "${components[*]} missing, and there is no rustup to add it: install it as this system installs Rust, then run this again."
        say "adding ${components[*]} with rustup"
        rustup component add "${components[@]}"
    fi
fi

if [ $with_checks = yes ] && ! command -v clamd >/dev/null && [ ! -x /usr/sbin/clamd ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing clamav-daemon with apt-get"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends clamav-daemon >/dev/null; } ||
            say "clamav-daemon could not be installed: the test that asks the real clamd says so, and is skipped."
    else
        say "clamd is not here (on Debian: clamav-daemon): the test that asks the real one says so, and is skipped."
    fi
fi
