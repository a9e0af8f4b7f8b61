#!/usr/bin/env python3
"""Compares the files that StreamDB carves from captures with those of tshark, tcpflow and Suricata, by SHA-256, and says of each that
only one of them has why.

  side-by-side.py [--bin PATH/streamdb] [--most N] [--jobs N] [--table FILE] CAPTURE-OR-FOLDER...

What counts as found: by StreamDB every object that it calls complete, as it was meant and as it was coded; by tshark what
--export-objects writes for http, imf and ftp-data, with segments put in order; by tcpflow -a the bodies of HTTP; by Suricata every
file of its file store, which takes all, without limits. Contents count once for each capture, empty ones not at all. Of a
folder the captures are taken in which Suricata or tshark finds files, at most N of them.

A content that only others have is looked for in what StreamDB has of that capture: the causes are in CAUSES. "not found" and "not
called whole" are open questions, and worth a look; all other causes are explained there. Exit status 1 when there are any of the
first, 2 when it could not run."""
import argparse
import collections
import concurrent.futures
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

CAUSES = {
    "hole": "StreamDB has it and says that bytes are missing or that its end was not seen; the other closes the hole up, or fills it",
    "cut": "the beginning of a body that StreamDB has more of: the other stopped early, and calls it whole",
    "not called whole": "StreamDB has the very bytes, and says that they are not all",
    "rest": "a file from a place on, which StreamDB does not call the file",
    "piece": "lies in an object of StreamDB's: a part without its head, text between tags, the data of a range",
    "wrapper": "an object of StreamDB's with something around it: the head or the boundary of a part, a line end, a mail's dots",
    "several": "objects of StreamDB's, one after the other: bodies of one connection taken for one, ranges put together",
    "coded": "coded bytes of which StreamDB has what they stand for, or the other way round",
    "stream": "bytes of a stream as it is, which is no file by any protocol that StreamDB takes apart",
    "rewritten": "text that the other one wrote anew: line ends or characters that were not sent",
    "alike": "begins as an object of StreamDB's and goes on otherwise: ranges put together, or a coding undone in another way",
    "not found": "nothing that StreamDB has is like it",
}
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


def by_suricata(captures, folder):
    """All captures in one run, as it takes long to start: what is in each."""
    links, out = os.path.join(folder, "captures"), os.path.join(folder, "out")
    os.mkdir(links)
    os.mkdir(out)
    for number, capture in enumerate(captures):
        # It passes over symbolic links.
        shutil.copyfile(capture, os.path.join(links, f"{number}.pcap"))
    with open(os.path.join(folder, "suricata.yaml"), "w") as config:
        config.write(SURICATA)
    run(["suricata", "-c", os.path.join(folder, "suricata.yaml"), "-S", "/dev/null", "-k", "none", "--runmode", "single",
         "-r", links, "-l", out], 3600)
    stored = contents(os.path.join(out, "filestore"), lambda name: len(name) == 64)
    found = collections.defaultdict(dict)
    with open(os.path.join(out, "eve.json")) as log:
        for line in log:
            event = json.loads(line)
            sha256 = event.get("fileinfo", {}).get("sha256")
            if sha256 in stored:
                number = int(os.path.basename(event["pcap_filename"]).split(".")[0])
                found[captures[number]][sha256] = stored[sha256]
    return found


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

    def all(self):
        """Rows with their bytes."""
        for row in self.rows:
            if row["oid"] not in self.read:
                self.read[row["oid"]] = run([self.program, "get", "--data", self.folder, row["oid"]])
            yield row, self.read[row["oid"]]

    def cause(self, sha256, content):
        """Why this is not among the whole objects; None when it is."""
        if sha256 in self.whole or sha256 in self.coded:
            return None
        all_ = [(row, bytes_) for row, bytes_ in self.all() if bytes_]
        objects = [(row, bytes_) for row, bytes_ in all_ if row["kind"] != "stream"]
        same = [row for row, bytes_ in objects if bytes_ == content]
        if same:
            if any(row.get("reason") == "partial" for row in same):
                return "rest"
            return "not called whole" if not any(row["missing_bytes"] for row in same) else "hole"
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
        if hashlib.sha256(unpacked(content)).hexdigest() in self.whole:
            return "coded"
        if any(content in bytes_ for _, bytes_ in all_):
            return "stream"
        if any(content[:64] in bytes_ and len(content) >= 64 for bytes_ in broken):
            return "hole"
        if any(len(content) >= 64 and content[:64] == bytes_[:64] for _, bytes_ in objects):
            return "alike"
        return "not found"


def closed(content):
    """Without what a hole reads as."""
    return content.replace(b"\0", b"")


def unpacked(content):
    """Without gzip around it."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content


def lines(content):
    return content.replace(b"\r", b"").replace(b"\n..", b"\n.").strip()


def compare(program, capture, files, folder):
    folder = tempfile.mkdtemp(dir=folder)
    try:
        found = {"suricata": files}
        for name, peer in (("tshark", by_tshark), ("tcpflow", by_tcpflow)):
            os.mkdir(os.path.join(folder, name))
            found[name] = peer(capture, os.path.join(folder, name))
        if not any(found.values()):
            return None
        store = Store(program, capture, os.path.join(folder, "data"))
        only = []
        for name in PEERS:
            for sha256, content in found[name].items():
                cause = store.cause(sha256, content)
                if cause:
                    only.append((os.path.basename(capture), name, cause, sha256, len(content), content[:24]))
        theirs = {name: set(found[name]) for name in PEERS}
        ours = store.whole | store.coded
        counts = {name: (len(ours & theirs[name]), len(theirs[name] - ours)) for name in PEERS}
        return counts, len(store.whole), len(store.whole - set().union(*theirs.values())), only, ours
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--bin", default=os.path.join(here, "../target/release/streamdb"))
    parser.add_argument("--most", type=int, default=200)
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
    captures = []
    for path in options.captures:
        names = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        captures += [name for name in names if name.endswith((".pcap", ".pcapng", ".cap"))]
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as folder:
        files = by_suricata(captures, folder)
        found = []
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            # Those first in which there are files for sure.
            order = sorted(captures, key=lambda capture: capture not in files)
            for at in range(0, len(order), 8 * options.jobs):
                if len(found) >= options.most:
                    break
                some = order[at:at + 8 * options.jobs]
                answers = pool.map(lambda capture: compare(options.bin, capture, files.get(capture, {}), folder), some)
                found += [answer for answer in answers if answer]
    found = found[:options.most]
    # Suricata's log may name the capture that it read next, so what it finds is looked for in all of them.
    ours = set().union(*(ours for _, _, _, _, ours in found))
    only = sorted({row for _, _, _, rows, _ in found for row in rows if row[1] != "suricata" or row[3] not in ours})
    elsewhere = {row[3] for _, _, _, rows, _ in found for row in rows if row[1] == "suricata" and row[3] in ours}
    print(f"{len(found)} captures with files; StreamDB has {sum(whole for _, whole, _, _, _ in found)} whole contents, "
          f"{sum(alone for _, _, alone, _, _ in found)} of which no other has")
    print(f"{'':12}{'both':>8}{'only it':>8}   why")
    for name in PEERS:
        both = sum(counts[name][0] for counts, *_ in found) + (len(elsewhere) if name == "suricata" else 0)
        alone = sum(row[1] == name for row in only)
        why = collections.Counter(row[2] for row in only if row[1] == name)
        print(f"{name:12}{both:8}{alone:8}   " + ", ".join(f"{cause} {count}" for cause, count in why.most_common()))
    print()
    for cause in CAUSES:
        if any(row[2] == cause for row in only):
            print(f"{cause:18} {CAUSES[cause]}")
    if options.table:
        with open(options.table, "w") as table:
            for row in only:
                print(*row, sep="\t", file=table)
    sys.exit(any(row[2] in ("not found", "not called whole") for row in only))


main()
