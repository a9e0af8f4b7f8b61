#!/usr/bin/env python3
"""Checks the HTTP bodies that StreamDB finds in a capture against what was really sent, row by row, and the other way round.

  check-bodies.py [--bin PATH/streamdb] [--contents] [--rows N] CAPTURE|FOLDER TRUTH

With the data folder of a sensor that saw it all, in place of a capture, it checks what that one has.
TRUTH is written from the logs of the server that was captured, and from the files that it served; tab-separated, with a
first line of names. These columns are looked at, others may be there:

  dir       req or resp: which of the two messages the body was in
  uri       as in the request line; no two requests have the same (a counter in the query does it)
  client    the client's address
  port      the client's port
  status    of the response
  kind      multipart: the row is of one file in a multipart body, which is an object of its own; range: of a part of a file, which
            is called partial; others may say what they like
  size      of the body without its codings
  sha256    of the body without its codings
  complete  1 when the server says that it sent all of it, 0 when it was broken off

A row is met when there is exactly one object with its client, port, URI, side and status; and when that is called complete
and has the SHA-256, or, for a body that was broken off, when it is called incomplete, says which side stopped, and has as many
bytes, with those that are missing, as were to come. A multipart body has to be complete, and the file in it a part of it
with its SHA-256. A body that was given up, and went over the wire whole before that, is whole.

Where the capture has not what the log tells, no object can. Four such cases are told from faults by what else is there:
  late     the answer to a request that went by before the capture began: whole, and without a URI. It counts as met
  begun    the capture began in the middle of the body: bytes without a head, and they are not called complete
  gone     only the end of the connection is there, without a byte in either direction
  reset    the server had given all of it to its kernel, and the client reset the connection before it had it all

The other way round: an object that is called complete and is not empty is one of the bodies that were sent. With --contents
each complete object is handed out too (`streamdb get`) and hashed, which takes a while.

Prints the counts, and the first N rows and objects that are at fault; exit status 1 when there is one, 2 when it could not
run."""
import argparse
import collections
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile

EMPTY = hashlib.sha256().hexdigest()
# Who stopped, in the words of an object's reason.
SIDES = ("reset-by-client", "reset-by-server", "closed-early")


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        give_up(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def give_up(sentence):
    print(f"check-bodies: {sentence}", file=sys.stderr)
    sys.exit(2)


def judge(row, same, parts, others, length):
    """What became of a row: a word, and the object that is meant. `same` has its URI, `parts` are in it, `others` have none, all are of its side;
    its connection has `length` bytes, None when there is no such connection."""
    whole, size = row["complete"] == "1", int(row["size"])
    if len(same) == 1:
        found = same[0]
        cut = not found["complete"] and found.get("reason") in SIDES and found["size"] + found["missing_bytes"] == size
        if row["kind"] == "multipart" and whole:
            parts = [part["sha256"] for part in parts if part["complete"]]
            return ("multipart" if found["complete"] and row["sha256"] in parts else "wrong"), found
        if row["kind"] == "range" and whole and found.get("reason") == "partial" and found["sha256"] == row["sha256"]:
            return "range", found
        if found["complete"] and found["sha256"] == row["sha256"]:
            return "whole", found
        if cut:
            return ("reset" if whole else "broken off"), found
        return "wrong", found
    if same:
        return "more than one", same[0]
    for found in others:
        if found["kind"] == "response" and found["complete"] and found["sha256"] == row["sha256"] and whole:
            return "late", found
        if found["kind"] == "stream" and not found["complete"]:
            return "begun", found
    return ("gone" if length == 0 else "not there"), None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(os.path.dirname(__file__), "..", "target", "release", "streamdb"))
    parser.add_argument("--contents", action="store_true")
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("capture")
    parser.add_argument("truth")
    arguments = parser.parse_args()
    if not os.access(arguments.bin, os.X_OK):
        give_up(f"{arguments.bin}: no such program; build it with `cargo build --release -p streamdb`, or name one with --bin")
    with open(arguments.truth, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    with tempfile.TemporaryDirectory(prefix="check-bodies-") as data:
        if os.path.isdir(arguments.capture):
            data = arguments.capture
        else:
            run(arguments.bin, "ingest", "--data", data, arguments.capture)
        objects = [json.loads(line) for line in run(arguments.bin, "objects", "--json", "--data", data).splitlines()]
        lengths = collections.Counter()
        for line in run(arguments.bin, "streams", "--json", "--data", data).splitlines():
            stream = json.loads(line)
            lengths[stream["src_ip"], str(stream["src_port"])] += stream["length"]
        handed_out = {}
        if arguments.contents:
            for found in objects:
                if found["complete"]:
                    handed_out[found["oid"]] = hashlib.sha256(run(arguments.bin, "get", "--data", data, found["oid"])).hexdigest()

    named, unnamed, inside = (collections.defaultdict(list) for _ in range(3))
    for found in objects:
        side = (found["src_ip"], str(found["src_port"]), found["direction"])
        if found.get("uri") is None:
            unnamed[side].append(found)
        else:
            status = str(found.get("status")) if found["direction"] == "c" else None
            (inside if found["kind"] == "part" else named)[side + (found["uri"], status)].append(found)

    faults, counts, meant = [], collections.Counter(), set()
    for row in rows:
        side = (row["client"], row["port"], "c" if row["dir"] == "resp" else "s")
        key = side + (row["uri"], row["status"] if row["dir"] == "resp" else None)
        word, found = judge(row, named.get(key, []), inside.get(key, []), unnamed.get(side, []), lengths.get(side[:2]))
        counts[word] += 1
        if found is not None:
            meant.add(found["oid"])
        if word in ("wrong", "more than one", "not there"):
            faults.append(f"{word}: {row['dir']} {row['uri']} of {row['client']}:{row['port']}, {row['size']} bytes {row['sha256']}"
                          + (f"; {found['oid']} has {found['size']}, {found.get('reason', 'complete')}" if found else ""))

    sent = {row["sha256"] for row in rows} | {EMPTY}
    for found in objects:
        if found["complete"] and found["kind"] != "part" and found["oid"] not in meant and found["sha256"] not in sent:
            counts["complete, never sent"] += 1
            faults.append(f"complete, and not among what was sent: {found['kind']} {found['oid']} {found.get('uri')}, {found['size']} bytes")
        if handed_out.get(found["oid"], found.get("sha256")) != found.get("sha256"):
            counts["handed out wrong"] += 1
            faults.append(f"handed out with another SHA-256 than it is listed with: {found['oid']}")

    print(f"{arguments.capture}: {len(rows)} bodies sent, {len(objects)} objects, {len(handed_out)} handed out")
    for word, count in sorted(counts.items()):
        print(f"  {word:22} {count:7}")
    for fault in faults[:arguments.rows]:
        print(f"  {fault}")
    if len(faults) > arguments.rows:
        print(f"  and {len(faults) - arguments.rows} more")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
