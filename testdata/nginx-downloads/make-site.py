#!/usr/bin/env python3
"""Writes the site that record.sh serves: the same bytes each time, on every machine. Usage: make-site.py FOLDER

Nothing here comes from elsewhere: the picture, the archive and the program are made below, byte by byte.
"""
import hashlib
import os
import struct
import sys
import zipfile
import zlib


def noise(seed, length):
    """Bytes that do not compress: SHA-256 of a seed and a counter, over and over."""
    blocks = (hashlib.sha256(b"%s %d" % (seed, n)).digest() for n in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def page(title, paragraphs):
    body = "".join("<p>%s</p>\n" % text for text in paragraphs)
    return ("<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body><h1>%s</h1>\n%s</body></html>\n"
            % (title, title, body)).encode()


def picture(width, height):
    """An RGB PNG with a gradient and a few grains of noise, so that it does not shrink to nothing."""
    grains = noise(b"picture", width * height)
    rows = []
    for y in range(height):
        row = bytearray([0])  # filter type 0
        for x in range(width):
            row += bytes((x * 255 // width, y * 255 // height, 96 + grains[y * width + x] % 8))
        rows.append(bytes(row))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    # Stored, not deflated: which bytes deflate makes is the affair of the zlib at hand.
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows), 0))
            + chunk(b"IEND", b""))


def archive(path):
    """A zip of three members, stored, with fixed dates."""
    members = [("tools/README.txt", b"Nothing in here does anything.\n" * 8),
               ("tools/table.bin", noise(b"table", 100_000)),
               ("tools/manual.txt", b"".join(b"Line %05d of a manual that nobody reads.\n" % n for n in range(1000)))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        for name, data in members:
            entry = zipfile.ZipInfo(name, (2012, 3, 2, 7, 51, 50))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            out.writestr(entry, data)


def program():
    """A 32-bit Windows program of 22,528 bytes whose only code is `xor eax, eax; ret`.

    Its sections are named as those of a packed program, so that it is described as the one of the ancestor's story was.
    """
    stub = b"\x0e\x1f\xba\x0e\x00\xb4\x09\xcd\x21\xb8\x01\x4c\xcd\x21This program cannot be run in DOS mode.\r\r\n$"
    dos = b"MZ" + struct.pack("<29H", 0x90, 3, 0, 4, 0, 0xFFFF, 0, 0xB8, 0, 0, 0, 0x40, *([0] * 17)) + struct.pack("<I", 0x80)
    coff = struct.pack("<HHIIIHH", 0x14C, 3, 1330675200, 0, 0, 0xE0, 0x10F)
    optional = struct.pack("<HBBIIIIII", 0x10B, 6, 0, 0x5000, 0x400, 0x8000, 0x9000, 0x9000, 0xE000)
    optional += struct.pack("<IIIHHHHHHIIIIHH", 0x400000, 0x1000, 0x200, 4, 0, 0, 0, 4, 0, 0, 0xF000, 0x400, 0, 2, 0)
    optional += struct.pack("<6I", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16) + bytes(16 * 8)

    def section(name, size, address, raw, place, flags):
        return name.ljust(8, b"\0") + struct.pack("<IIIIIIHHI", size, address, raw, place, 0, 0, 0, 0, flags)

    table = (section(b"UPX0", 0x8000, 0x1000, 0, 0x400, 0xE0000080)
             + section(b"UPX1", 0x5000, 0x9000, 0x5000, 0x400, 0xE0000040)
             + section(b".rsrc", 0x1000, 0xE000, 0x400, 0x5400, 0xC0000040))
    head = (dos + stub).ljust(0x80, b"\0") + b"PE\0\0" + coff + optional + table
    code = b"\x33\xc0\xc3" + noise(b"program", 0x5000 - 3)
    return (head.ljust(0x400, b"\0") + code).ljust(22528, b"\0")


def main(folder):
    os.makedirs(folder, exist_ok=True)
    files = {
        "index.html": page("Downloads", ['<a href="/files/tools.zip">tools.zip</a>', '<img src="/logo.png">',
                                         '<a href="/text/notes.txt">notes</a>', '<a href="/live/status.html">status</a>']),
        "status.html": page("Status", ["Job %03d is done." % n for n in range(120)]),
        "notes.txt": "".join("%04d  The quick brown fox jumps %d times over line %d.\n" % (n, n * 7 % 101, n)
                             for n in range(400)).encode(),
        "logo.png": picture(64, 48),
        "image.php": program(),
        "upload.bin": noise(b"upload", 5_000),
    }
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(data)
    archive(os.path.join(folder, "tools.zip"))


main(sys.argv[1])
