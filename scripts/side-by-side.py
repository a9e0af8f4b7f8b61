#!/usr/bin/env python3
"""Compares the files that StreamDB carves from captures with those of tshark, tcpflow and Suricata, by SHA-256, and says of each that
only one of them has why.

  side-by-side.py [--bin PATH/streamdb] [--jobs N] [--table FILE] CAPTURE-OR-FOLDER...

What counts as found: by StreamDB every object that it calls complete, as it was meant and as it was coded, and every content that
it put together of several responses; by tshark what --export-objects writes for http, imf and ftp-data, with segments put in
order; by tcpflow -a the bodies of HTTP; by Suricata every file of its file store, which takes all, without limits. Contents count
once for each capture, empty ones not at all. Captures in which none of the others finds a file are left out.

A content that only others have is looked for in what StreamDB has of that capture, by the rules in CAUSES, in this order; what none
of them explains is "not found" or "not called whole", and an open question. Exit status 1 when there are any of these, 2 when it
could not run. The same captures and programs give the same output."""
import argparse
import base64
import binascii
import collections
import concurrent.futures
import email
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib

CAUSES = {
    "not followed": "StreamDB has no stream at all of this capture: a link layer or a transport that it does not follow",
    "rest": "a file from a place on, which StreamDB does not call the file",
    "damaged": "StreamDB has the very bytes, and says that their coding is damaged, or ends early: a strict decoder refuses it too",
    "hole": "StreamDB has it and says that bytes are missing or that its end was not seen; the other closes the hole up, or fills it",
    "cut": "the beginning of a body that StreamDB has more of: the other stopped early, and calls it whole",
    "piece": "lies in an object of StreamDB's: a part without its head, text between tags, the data of a range",
    "wrapper": "an object of StreamDB's with something around it: the head or the boundary of a part, a line end, a mail's dots",
    "several": "objects of StreamDB's, one after the other: bodies of one connection taken for one, ranges put together",
    "rewritten": "text that the other one wrote anew: line ends or characters that were not sent",
    "coded": "what StreamDB has, with chunks, codings or the end of a head still on it: undone, it is the same",
    "version": "goes on as another version of an object does, where frames carried different bytes: StreamDB has it with get --other",
    "stream": "bytes of a stream as it is, perhaps with the padding of a frame, which is no file by any protocol that StreamDB takes apart",
    "elsewhere": "bytes of a stream in which StreamDB has objects, but from another place on, or up to another: a head read in another way",
    "outvoted": "begins as a whole object of StreamDB's that another of them has just so, and goes on otherwise",
    "mail": "begins as a part of a mail of StreamDB's, which Python's decoder has just so, and goes on otherwise",
    "pieces": "lies in a stream in blocks, in order, with something between them that the other leaves out (the heads of NFS, lost ranges)",
    "no reader": "a response that a real browser reads otherwise, or not at all (browser-reads.tsv of the tests)",
    "not called whole": "StreamDB has the very bytes, and says that they are not all",
    "not found": "nothing that StreamDB has is like it",
}
OPEN = ("not called whole", "not found")
# What the responses of http-evader carry, and browser-reads.py looks for.
EICAR = b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"
SURICATA = """%YAML 1.1
---
vars: {address-groups: {HOME_NET: any, EXTERNAL_NET: any}, port-groups: {HTTP_PORTS: "80"}}
stats: {enabled: no}
outputs:
  - file-store: {version: 2, enabled: yes, force-filestore: yes, stream-depth: 0, force-hash: [sha256]}
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, pcap-file: yes, types: [files: {force-magic: no}]}
logging: {default-log-level: error, outputs: [console: {enabled: yes}]}
stream: {memcap: 1gb, checksum-validation: no, reassembly: {memcap: 1gb, depth: 0}}
app-layer:
  protocols:
    http: {enabled: yes, memcap: 0, libhtp: {default-config: {personality: IDS, request-body-limit: 0, response-body-limit: 0}}}
    http2: {enabled: yes}
    smtp: {enabled: yes, mime: {decode-mime: yes, decode-base64: yes, decode-quoted-printable: yes}}
    ftp: {enabled: yes}
"""
PEERS = ("tshark", "tcpflow", "suricata")
EMPTY = hashlib.sha256(b"").hexdigest()


def run(command, limit=300, **more):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=limit, **more).stdout
    except subprocess.TimeoutExpired:
        return b""


def contents(folder, wanted=lambda name: True):
    """What is in the files below a folder, by hash."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in filter(wanted, names):
            with open(os.path.join(at, name), "rb") as file:
                content = file.read()
            found[hashlib.sha256(content).hexdigest()] = content
    found.pop(EMPTY, None)
    return found


def by_tshark(capture, folder):
    kinds = [word for kind in ("http", "imf", "ftp-data") for word in ("--export-objects", f"{kind},{folder}/{kind}")]
    run(["tshark", "-Q", "-o", "tcp.reassemble_out_of_order:TRUE", "-r", capture, *kinds])
    return contents(folder)


def by_tcpflow(capture, folder):
    run(["tcpflow", "-a", "-q", "-o", folder, "-r", capture])
    return contents(folder, lambda name: "HTTPBODY" in name and not name.endswith(".findx"))


def by_suricata(capture, folder):
    """In a run of its own: with several captures it takes flows with the same addresses for one."""
    with open(os.path.join(folder, "suricata.yaml"), "w") as config:
        config.write(SURICATA)
    run(["suricata", "-c", os.path.join(folder, "suricata.yaml"), "-S", "/dev/null", "-k", "none", "--runmode", "single",
         "-r", capture, "-l", folder])
    return contents(os.path.join(folder, "filestore"), lambda name: len(name) == 64)


class Store:
    """What StreamDB has of a capture."""

    def __init__(self, program, capture, folder):
        self.program, self.folder, self.read = program, folder, {}
        run([program, "ingest", "--data", folder, capture])
        self.rows = [json.loads(line) for line in run([program, "objects", "--json", "--data", folder]).splitlines()]
        # The files of FTP are streams of their own.
        self.rows = [row | {"kind": "file"} if row["protocol"] == "ftp" else row for row in self.rows]
        whole = [row for row in self.rows if row["complete"] and row["kind"] != "stream"]
        self.whole = {row["sha256"] for row in whole} - {EMPTY}
        self.coded = {row["sha256_encoded"] for row in whole if row.get("sha256_encoded")}
        joins = [json.loads(line) for line in run([program, "joins", "--json", "--data", folder]).splitlines()]
        self.whole |= {join["sha256"] for join in joins if join["state"] == "complete" and join.get("sha256")}
        self.streams = [json.loads(line) for line in run([program, "streams", "--json", "--data", folder]).splitlines()]
        self.sent = None

    def all(self):
        """Rows with their bytes."""
        for row in self.rows:
            if row["oid"] not in self.read:
                self.read[row["oid"]] = run([self.program, "get", "--data", self.folder, row["oid"]])
            yield row, self.read[row["oid"]]

    def raw(self):
        """The bytes of streams, with whether StreamDB has objects in them."""
        if self.sent is None:
            places = {place(row["oid"]) for row in self.rows if row["kind"] != "stream"}
            self.sent = [(run([self.program, "get", "--data", self.folder, "--raw", stream["oid"]]),
                          place(stream["oid"]) in places) for stream in self.streams]
        return self.sent

    def others(self):
        """Other versions of objects of which frames carried different bytes."""
        for row, bytes_ in self.all():
            for version in range(1, 5) if row.get("conflict") else ():
                yield bytes_, run([self.program, "get", "--data", self.folder, f"--other={version}", row["oid"]])

    def mail_parts(self):
        """What Python makes of the parts of mails, by hash."""
        mails = [bytes_ for row, bytes_ in self.all() if row["kind"] == "file" and row["protocol"] in ("smtp", "pop3")]
        parts = [part.get_payload(decode=True) for mail in mails for part in email.message_from_bytes(mail).walk()]
        # A line end before a boundary is the boundary's (RFC 2046 §5.1.1), but not for Python.
        return {hashlib.sha256(bytes_).hexdigest() for part in parts if part for bytes_ in (part, part + b"\r\n", part + b"\n")}

    def cause(self, sha256, content, agreed):
        """Why this is not among the whole objects; None when it is. `agreed`: what the others have."""
        if sha256 in self.whole or sha256 in self.coded:
            return None
        if not self.streams:
            return "not followed"
        all_ = [(row, bytes_) for row, bytes_ in self.all() if bytes_]
        objects = [(row, bytes_) for row, bytes_ in all_ if row["kind"] != "stream"]
        same = [row for row, bytes_ in objects if bytes_ == content]
        if same:
            reasons = {row.get("reason") for row in same}
            if "partial" in reasons:
                return "rest"
            if "decoder-error" in reasons:
                return "damaged" if any(is_damaged(sent, content) for sent, _ in self.raw()) else "not called whole"
            ended = any(row["missing_bytes"] or row.get("reason") in NO_END for row in same)
            return "hole" if ended else "not called whole"
        if any(bytes_.startswith(content) for _, bytes_ in objects):
            return "cut"
        broken = [bytes_ for row, bytes_ in all_ if not row["complete"]]
        if any(closed(bytes_) == closed(content) or len(bytes_) >= 16 and content.startswith(bytes_.rstrip(b"\0"))
               or content[:64] == bytes_[:64] and len(content) >= 64 for bytes_ in broken):
            return "hole"
        if any(content in bytes_ for _, bytes_ in objects):
            return "piece"
        inner = [bytes_ for _, bytes_ in objects if len(bytes_) >= 8 and bytes_ in content]
        if inner:
            return "several" if len(inner) > 1 and len(max(inner, key=len)) * 2 < len(content) else "wrapper"
        if any(lines(bytes_) == lines(content) for _, bytes_ in objects):
            return "rewritten"
        if any(hashlib.sha256(undone).hexdigest() in self.whole for undone in undoings(content)):
            return "coded"
        if any(common(content, other) > max(common(content, bytes_), 63) for bytes_, other in self.others()):
            return "version"
        if any(content.rstrip(b"\0") in bytes_ for row, bytes_ in all_ if row["kind"] == "stream"):
            return "stream"
        there = [has_objects for sent, has_objects in self.raw() if content in sent]
        if there:
            return "elsewhere" if any(there) else "stream"
        if any(content[:64] in bytes_ and len(content) >= 64 for bytes_ in broken):
            return "hole"
        alike = [row for row, bytes_ in objects if len(content) >= 64 and content[:64] == bytes_[:64]]
        if any(row["sha256"] in agreed for row in alike if row["complete"]):
            return "outvoted"
        if any(row["sha256"] in self.mail_parts() for row in alike if row["complete"]):
            return "mail"
        if any(in_pieces(content, sent) for sent, _ in self.raw()):
            return "pieces"
        return "not found"


# Reasons that say that the end was not seen.
NO_END = {"closed-early", "capture-ended", "timed-out", "open", "reset", "reset-by-client", "reset-by-server", "gap", "unsure"}


def place(oid):
    """The stream that an oid names, without what of it."""
    return oid.rsplit("-", 1)[0]


def is_damaged(sent, content):
    """Whether a stream has bytes from which a decoder makes this content, and then refuses them."""
    starts = [match.end() for match in re.finditer(rb"\r?\n\r?\n", sent)]
    for start in starts:
        rest = sent[start:]
        for window in (31, 15, -15):
            decoder = zlib.decompressobj(window)
            taken = b""
            try:
                for at in range(len(rest)):
                    taken += decoder.decompress(rest[at:at + 1])
            except zlib.error:
                pass
            if taken == content and not decoder.eof:
                return True
        text = re.sub(rb"[\r\n]", b"", re.split(rb"\r?\n--", rest)[0])
        try:
            binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            # Each run of letters by itself, or all in one, as far as they go: what a lenient decoder makes of them.
            runs = re.findall(rb"[A-Za-z0-9+/]+", text)
            for lenient in (runs, [b"".join(runs)]):
                lenient = b"".join(base64.b64decode(run[:len(run) - (len(run) % 4 == 1)] + b"=" * (-len(run) % 4)) for run in lenient
                                   if len(run) > 1)
                if common(lenient, content) >= max(len(lenient), len(content)) - 2:
                    return True
    return False


def undoings(content):
    """What comes out of a content when up to three layers are taken off: a head, chunks, deflate in its three coats."""
    found, layer = set(), {content}
    for _ in range(3):
        layer = {undone for one in layer for undone in layers(one) if undone and undone not in found}
        found |= layer
    return found


def layers(content):
    for window in (31, 15, -15):
        decoder = zlib.decompressobj(window)
        try:
            undone = decoder.decompress(content)
            if decoder.eof:
                yield undone
        except zlib.error:
            pass
    for head in itertools.islice(re.finditer(rb"\n[ \t]*\r*\n", content[:4096]), 4):
        yield content[head.end():]
    yield content.lstrip(b"\r\n\t \v")
    data, at = [], 0
    while line := re.match(rb"[\s\v]*([0-9A-Fa-f]{1,8})[^\n]*\n", content[at:at + 256]):
        size, begin = int(line[1], 16), at + line.end()
        if not size:
            yield b"".join(data)
            return
        data.append(content[begin:begin + size])
        at = begin + size
    # The last chunk may be missing.
    if data and at >= len(content):
        yield b"".join(data)


def in_pieces(content, sent):
    """Whether nearly all blocks of a content lie in a stream, one behind the other."""
    at, missing, size = 0, 0, 256
    blocks = [content[begin:begin + size] for begin in range(0, len(content) - size + 1, size)]
    for block in blocks:
        found = sent.find(block, at)
        at, missing = (found + size, missing) if found >= 0 else (at, missing + 1)
        if missing * 5 > len(blocks):
            return False
    return len(blocks) >= 8


def common(one, other):
    """How many first bytes are the same."""
    return len(os.path.commonprefix([one, other]))


def closed(content):
    """Without what a hole reads as."""
    return content.replace(b"\0", b"")


def lines(content):
    return content.replace(b"\r", b"").replace(b"\n..", b"\n.").strip()


def read_by_none(path):
    """The captures of which no browser reads what they carry, as they were asked."""
    read = {}
    with open(path) as table:
        rows = [line.rstrip("\n").split("\t") for line in table if line.strip() and not line.startswith("#")]
    names = rows[0]
    for row in rows[1:]:
        row = dict(zip(names, row))
        read[row["capture"]] = read.get(row["capture"], False) or row["eicar"] == "yes"
    return {capture for capture, is_read in read.items() if not is_read}


def compare(program, capture, folder, unread):
    folder = tempfile.mkdtemp(dir=folder)
    try:
        found = {}
        for name, peer in (("tshark", by_tshark), ("tcpflow", by_tcpflow), ("suricata", by_suricata)):
            os.mkdir(os.path.join(folder, name))
            found[name] = peer(capture, os.path.join(folder, name))
        if not any(found.values()):
            return None
        store = Store(program, capture, os.path.join(folder, "data"))
        only = []
        for name in PEERS:
            agreed = set().union(*(found[other] for other in PEERS if other != name))
            for sha256, content in found[name].items():
                cause = store.cause(sha256, content, agreed)
                if cause in OPEN and os.path.basename(capture) in unread and EICAR in content:
                    cause = "no reader"
                if cause:
                    only.append((os.path.basename(capture), name, cause, sha256, len(content), content[:24]))
        theirs = {name: set(found[name]) for name in PEERS}
        ours = store.whole | store.coded
        counts = {name: (len(ours & theirs[name]), len(store.whole - theirs[name])) for name in PEERS}
        return counts, len(store.whole), len(store.whole - set().union(*theirs.values())), only
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--bin", default=os.path.join(here, "../target/release/streamdb"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", help="write every content that only others have, one a line")
    parser.add_argument("captures", nargs="+")
    options = parser.parse_args()
    if not os.access(options.bin, os.X_OK):
        sys.exit(f"side-by-side: no program {options.bin}: build it with cargo build --release -p streamdb, or name it with --bin")
    for peer in PEERS:
        if not shutil.which(peer):
            print(f"side-by-side: {peer} is not installed", file=sys.stderr)
            sys.exit(2)
    unread = read_by_none(os.path.join(here, "../crates/streamdb/tests/browser-reads.tsv"))
    captures = []
    for path in options.captures:
        names = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        captures += [name for name in names if name.endswith((".pcap", ".pcapng", ".cap"))]
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as folder:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            answers = pool.map(lambda capture: compare(options.bin, capture, folder, unread), captures)
            found = [answer for answer in answers if answer]
    only = sorted(row for _, _, _, rows in found for row in rows)
    print(f"{len(captures)} captures, {len(found)} with files; StreamDB has {sum(whole for _, whole, _, _ in found)} whole contents, "
          f"{sum(alone for _, _, alone, _ in found)} of which no other has")
    print(f"{'':10}{'both':>8}{'only StreamDB':>15}{'only it':>9}{'unexplained':>13}   why only it")
    for name in PEERS:
        both, ours = (sum(counts[name][at] for counts, *_ in found) for at in (0, 1))
        why = collections.Counter(row[2] for row in only if row[1] == name)
        open_ = sum(why[cause] for cause in OPEN)
        said = ", ".join(f"{cause} {count}" for cause, count in sorted(why.items(), key=lambda item: (-item[1], item[0])))
        print(f"{name:10}{both:8}{ours:15}{sum(why.values()):9}{open_:13}   {said}")
    print()
    for cause in CAUSES:
        if any(row[2] == cause for row in only):
            print(f"{cause:18} {CAUSES[cause]}")
    questions = [row for row in only if row[2] in OPEN]
    if questions:
        print("\nopen questions:")
    for row in questions:
        print(" ", *row)
    if options.table:
        with open(options.table, "w") as table:
            for row in only:
                print(*row, sep="\t", file=table)
    sys.exit(any(row[2] in OPEN for row in only))


main()
