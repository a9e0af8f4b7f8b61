#!/usr/bin/env bash
# Builds program.c, packs it with UPX, and writes the result, of exactly 22,528 bytes. Usage: make-program.sh FILE
# It needs gcc-mingw-w64-i686, upx-ucl (of Debian's backports) and python3. The same versions make the same bytes.
set -euo pipefail
out=$(realpath "$1"); here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"; cp "$here/program.c" "$here/program.rc" .

# Whole sectors of 512 bytes come out, so the size is met by trying: the filling grows until the packed file has it.
for length in $(seq 27000 256 32000); do
    # Lines of hexadecimal digits, which pack to a bit more than half; UPX refuses what does not pack.
    python3 - "$length" > filling.txt <<'PY'
import hashlib, sys
lines = "".join("%s\n" % hashlib.sha256(b"filling %d" % n).hexdigest() for n in range(600))
print(lines[:int(sys.argv[1])], end="")
PY
    i686-w64-mingw32-windres program.rc -O coff -o resources.o
    i686-w64-mingw32-gcc -Os -s -Wall -Wextra -Werror -fno-ident -fno-asynchronous-unwind-tables -nostdlib -mwindows \
        -Wl,--no-insert-timestamp -Wl,-e,_start@0 -o program.exe program.c resources.o -luser32 -lkernel32
    # The linker sets the flag "debug information stripped" (0x200), which file(1) would mention; there never was any.
    python3 - program.exe <<'PY'
import struct, sys
image = bytearray(open(sys.argv[1], "rb").read())
place = struct.unpack_from("<I", image, 0x3C)[0] + 4 + 18  # e_lfanew, signature, Characteristics of the COFF header
struct.pack_into("<H", image, place, struct.unpack_from("<H", image, place)[0] & ~0x200)
open(sys.argv[1], "wb").write(image)
PY
    upx -qqq --best -o packed.exe program.exe
    if [ "$(stat -c %s packed.exe)" = 22528 ]; then
        upx -qqt packed.exe
        cp packed.exe "$out"; chmod 644 "$out"
        exit 0
    fi
    rm packed.exe
done
echo "make-program.sh: no filling makes 22528 bytes with $(upx --version | head -1); change the range of its length." >&2
exit 1
