#!/usr/bin/env python3
"""Writes the ordinary sites that record.sh serves beside the download. Usage: make-site.py FOLDER

Nothing here comes from elsewhere. The photographs are encoded by cjpeg (of libjpeg-turbo), all else is the same bytes
on every machine.
"""
import hashlib
import os
import struct
import subprocess
import sys
import zlib

WORDS = ("the harbour council report says that new lamps along old quay will be lit by wind before winter and nobody in "
         "town expects fewer boats while prices of fish bread and rope stay as they were last spring").split()


def noise(seed, length):
    """Bytes that do not compress: SHA-256 of a seed and a counter, over and over."""
    blocks = (hashlib.sha256(b"%s %d" % (seed, n)).digest() for n in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def text(seed, sentences):
    """Sentences of words that are picked by noise."""
    picks = iter(noise(seed, sentences * 12))
    lines = (" ".join(WORDS[next(picks) % len(WORDS)] for _ in range(12)) for _ in range(sentences))
    return " ".join(line.capitalize() + "." for line in lines)


def page(title, body, head=""):
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>%s</title>\n%s</head>\n'
            "<body><h1>%s</h1>\n%s</body></html>\n" % (title, head, title, body)).encode()


def pixels(width, height, seed):
    """RGB rows: a sky, a sea, and grains."""
    grains = noise(seed, width * height)
    for y in range(height):
        row = bytearray()
        for x in range(width):
            grain = grains[y * width + x] % 24
            sky = y * 3 < height * 2
            row += bytes((96 + x * 64 // width + grain, 128 + y * 64 // height, 200 if sky else 120 + grain))
        yield bytes(row)


def png(width, height, seed):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row for row in pixels(width, height, seed))  # filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    # Stored, not deflated: which bytes deflate makes is the affair of the zlib at hand.
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def jpeg(width, height, seed):
    ppm = b"P6 %d %d 255\n" % (width, height) + b"".join(pixels(width, height, seed))
    return subprocess.run(["cjpeg", "-quality", "80"], input=ppm, stdout=subprocess.PIPE, check=True).stdout


STATIC = "http://static.news.example"


def files():
    for site in ("news", "static", "org", "bad"):
        yield site + "/404.html", page("Not found", "<p>There is no such page here.</p>\n")
    articles = ["Lamps on the old quay", "Fewer boats, more fish", "What rope costs now"]
    links = "".join('<p><a href="/article/%d.html">%s</a></p>\n' % (n + 1, title) for n, title in enumerate(articles))
    head = ('<link rel="stylesheet" href="%s/site.css">\n<script src="%s/site.js" defer></script>\n' % (STATIC, STATIC))
    yield "news/index.html", page("Harbour News", '<img src="%s/logo.png" alt="">\n<img src="%s/harbour.jpg" alt="">\n%s'
                                  % (STATIC, STATIC, links), head)
    for n, title in enumerate(articles):
        paragraphs = "".join("<p>%s</p>\n" % text(b"article %d %d" % (n, p), 8) for p in range(10))
        image = '<img src="%s/quay.jpg" alt="">\n' % STATIC if n == 0 else ""
        yield "news/article/%d.html" % (n + 1), page(title, image + paragraphs, head)
    # Server-side includes make nginx answer in chunks.
    yield "news/weather.html", page("Weather", "".join("<p>%02d:00, wind %d knots</p>\n" % (h, h * 7 % 23) for h in range(24)))
    yield "static/site.css", "".join(".a%03d { margin: %dpx; color: #%06x; }\n" % (n, n % 17, n * 70001 % 0xFFFFFF)
                                     for n in range(150)).encode()
    yield "static/site.js", ("// Says which page was read, as such pages do.\n"
                             "fetch('/read', { method: 'POST', headers: { 'Content-Type': 'application/json' },\n"
                             "    body: JSON.stringify({ page: location.pathname, lines: 3 }) });\n"
                             + "".join("const unit%03d = (x) => x * %d + %d;\n" % (n, n, n * n) for n in range(120))).encode()
    yield "static/logo.png", png(72, 48, b"logo")
    yield "static/harbour.jpg", jpeg(400, 300, b"harbour")
    yield "static/quay.jpg", jpeg(320, 240, b"quay")
    yield "org/index.html", page("Example library", '<form method="post" action="/search"><input name="q"></form>\n')
    yield "org/catalogue/index.html", page("Catalogue", "".join("<p>%s</p>\n" % text(b"book %d" % n, 1) for n in range(60)))
    yield "shop/index.html", page("Shop", "".join("<p>%s</p>\n" % text(b"offer %d" % n, 2) for n in range(30)))


for name, data in files():
    path = os.path.join(sys.argv[1], name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(data)
