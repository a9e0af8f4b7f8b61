#!/usr/bin/env python3
"""Compares the TCP streams that StreamDB finds in captures with those of tcpflow and of tshark's "follow", byte for byte,
and says of each difference what the packets say.

  compare-peers.py [--bin PATH/streamdb] [--jobs N] [--table FILE] CAPTURE-OR-FOLDER...

Each capture goes into a fresh data folder. The streams of all three are matched by direction (source and destination,
address and port); as one tuple may have several connections, equal streams are paired first, and what is left over is
explained. Where bytes are missing StreamDB hands out zeros and tcpflow leaves a hole in its file, which reads the same;
tshark writes a sentence, which is read back as that many zeros.

tshark runs once per capture: `-z follow,tcp,raw,N` for many N at once is the same code as for one N, and the same run prints
each segment (sequence number, flags, payload). From those segments alone a third, slow reassembly here says what a stream
should be: by sequence number, the first copy of a byte wins, from the SYN (or the lowest number) on. It is the judge of a
difference: "ours" in the table means that StreamDB does not say what the packets say.

Prints a line per capture with differences, one per difference, and totals. Exit status 1 when a difference is ours or is not
explained, 2 when it could not run."""
import argparse
import collections
import gzip
import http.client
import ipaddress
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor

FIN, SYN, RST = 1, 2, 4
FIELDS = ["frame.number", "frame.time_epoch", "tcp.stream", "_ws.col.Source", "tcp.srcport", "_ws.col.Destination", "tcp.dstport", "tcp.seq_raw",
          "tcp.flags", "vlan.id", "frame.protocols", "tcp.len", "eth.padding", "eth.trailer",
          "eth.fcs", "tcp.payload"]
# Up to this many connections tshark follows in the run that prints the segments.
FEW = 64
# Differences of one cause that are printed for a capture; --table has all.
SHOWN = 3

Segment = collections.namedtuple("Segment", "frame time stream seq flags vlan protocols length padding payload")
Difference = collections.namedtuple("Difference", "capture peer key cause fault detail")


def run(command, limit):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()


def plain_file(path, folder):
    """The capture as the peers can read it: without gzip around it."""
    with open(path, "rb") as f:
        if f.read(2) != b"\x1f\x8b":
            return path
    plain = os.path.join(folder, "plain.pcap")
    with gzip.open(path) as f, open(plain, "wb") as out:
        try:
            while piece := f.read(1 << 20):
                out.write(piece)
        except (EOFError, OSError):
            pass
    return plain


# What each of the three finds: {(source, port, destination, port): [bytes, ...]}, in the order of the connections.

def of_streamdb(binary, path, folder, limit):
    data = os.path.join(folder, "data")
    code, _, said = run([binary, "ingest", "--data", data, path], limit)
    found = collections.defaultdict(list)
    if not os.path.isdir(os.path.join(data, "buckets")):
        return found, said
    listed = run([binary, "streams", "--data", data, "--json"], limit)[1]
    rows = [row for row in map(json.loads, listed.splitlines()) if row["protocol"] == "tcp"]
    rows = [row for row in rows if row["length"] > row["gap_bytes"]]
    if not rows:
        return found, said if code else ""
    server = subprocess.Popen([binary, "serve", "--data", data, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE)
    try:
        address = re.search(r"http://([^/]*)/", server.stderr.readline().decode()).group(1)
        link = http.client.HTTPConnection(address, timeout=limit)
        for row in sorted(rows, key=lambda row: row["start"]):
            link.request("GET", f"/streamdb/?oid={row['oid']}&raw=1")
            answer = link.getresponse()
            body = answer.read()
            if answer.status != 200 or len(body) != row["length"]:
                raise RuntimeError(f"{path}: oid {row['oid']} has {len(body)} of {row['length']} bytes ({answer.status})")
            source, destination = (ip(row["src_ip"]), row["src_port"]), (ip(row["dst_ip"]), row["dst_port"])
            if row["direction"] == "c":
                source, destination = destination, source
            found[source + destination].append(body)
        link.close()
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()
    return found, said if code else ""


def of_tcpflow(path, folder, limit):
    out = os.path.join(folder, "tcpflow")
    os.mkdir(out)
    # Without a scanner for HTTP, and a gap of any size inside of one file.
    code, _, said = run(["tcpflow", "-q", "-x", "http", "-m", str(1 << 30), "-o", out, "-r", path], limit)
    found = collections.defaultdict(list)
    order = lambda name: (int(m.group(1)) if (m := re.search(r"c(\d+)$", name)) else 0, name)
    for name in sorted(os.listdir(out), key=order):
        parts = re.fullmatch(r"(.+)\.(\d{5})-(.+)\.(\d{5})(?:--\d+)?(?:c\d+)?", name)
        if parts:
            with open(os.path.join(out, name), "rb") as f:
                body = f.read()
            if body:
                found[(ip(parts[1]), int(parts[2]), ip(parts[3]), int(parts[4]))].append(body)
    said = " ".join(line for line in said.splitlines() if "reportfilename" not in line and "dangerous" not in line)
    return found, said if code or "unsupported" in said else ""


def ip(text):
    if ":" not in text:
        text = ".".join(str(int(part)) for part in text.split("."))
    return str(ipaddress.ip_address(text))


def of_tshark(path, connections, limit):
    """Its streams, and every segment by direction."""
    fields = [part for name in FIELDS for part in ("-e", name)]
    base = ["tshark", "-n", "-q", "-r", path]
    first = list(range(connections + 8)) if connections <= FEW else []
    taps = lambda numbers: [part for n in numbers for part in ("-z", f"follow,tcp,raw,{n}")]
    # Without -q, as that leaves out the fields; TCP headers quoted in ICMP and sFlow are no segments.
    only = ["-Y", "tcp && !icmp && !icmpv6 && !sflow", "-T", "fields", "-E", "occurrence=l"]
    # Messages put together from segments would hide the payload of some.
    only += ["-o", "tcp.desegment_tcp_streams:FALSE"]
    text = run(["tshark", "-n", "-r", path] + only + fields + taps(first), limit)[1].decode("latin-1")
    segments, carrying = collections.defaultdict(list), set()
    head, _, tail = text.partition("\n=====") if not text.startswith("=====") else ("", "", text)
    for line in head.split("\n"):
        cells = line.split("\t")
        if len(cells) != len(FIELDS) or not cells[2] or not cells[7]:
            continue
        number, time, stream, source, sport, destination, dport, seq, flags, vlan, protocols, length, padding, trailer, fcs, payload = cells
        try:
            key = (ip(source), int(sport), ip(destination), int(dport))
            place = (int(number), float(time), int(stream), int(seq), int(flags, 16))
        except ValueError:
            continue  # a header that the snap length cut
        payload = unhex(payload)
        behind = unhex(padding) + unhex(trailer) + unhex(fcs.removeprefix("0x"))
        segments[key].append(Segment(*place, vlan, protocols, int(length or 0), behind, payload))
        if payload:
            carrying.add(int(stream))
    rest = sorted(carrying - set(first))
    for at in range(0, len(rest), 400):
        tail += run(base + taps(rest[at:at + 400]), limit)[1].decode("latin-1")
    found = collections.defaultdict(list)
    for section in re.finditer(r"Follow: tcp,raw\nFilter: tcp.stream eq (\d+)\nNode 0: (.*)\nNode 1: (.*)\n([^=]*)", tail):
        ends = [(ip(addr.strip("[]")), int(port)) for addr, _, port in (section[i].rpartition(":") for i in (2, 3))
                if addr.strip("[]")]
        if len(ends) < 2:
            continue
        sides = [bytearray(), bytearray()]
        for line in section[4].split("\n"):
            sides[line.startswith("\t")] += bytes.fromhex(line.strip())
        for side, (source, destination) in zip(sides, (ends, ends[::-1])):
            if side:
                found[source + destination].append(holes_back(bytes(side)))
    return found, segments


def unhex(text):
    return bytes.fromhex(text.replace(":", ""))


def holes_back(body):
    return re.sub(rb"\[(\d{1,9}) bytes missing in capture file\]\.?\x00?", lambda m: bytes(int(m[1])), body)


# The judge.

def modulo(distance):
    """A distance between sequence numbers (RFC 9293 section 3.4), signed."""
    return (distance + (1 << 31)) % (1 << 32) - (1 << 31)


# What a peer may do otherwise than the judge does.
HABITS = {
    "padding": "counts what follows the IP packet in the frame as payload",
    "last": "lets the last copy of a byte win",
    "keepalive": "takes the byte of a keep-alive for data",
    "fin": "goes on after the FIN",
    "reset": "counts the payload of a reset",
    "early": "drops what lies before the first byte that it saw",
    "empty": "counts from the number of a segment without bytes",
    "far": "believes any sequence number",
}


class Judged:
    """A stream out of its segments: `body` with zeros in holes, `known` with a one for each byte that was captured."""

    def __init__(self, segments, habits=(), most=1 << 26):
        """Segments that end further than `most` from the first byte are left out, as room is made for every hole; how many is
        in `over`."""
        opening = next((s for s in segments if s.flags & SYN), None)
        carrying = [s for s in segments if (s.payload or "padding" in habits and s.padding or "empty" in habits)
                    and (not s.flags & RST or "reset" in habits)]
        if "early" in habits and carrying:
            base = carrying[0].seq
        elif opening:
            base = opening.seq + 1
        elif carrying:
            lowest = min(modulo(s.seq - carrying[0].seq) for s in carrying)
            base = carrying[0].seq + max(lowest, -(1 << 24))
        else:
            base = 0
        self.body, self.known = bytearray(), bytearray()
        self.copies, self.fin, self.fin_frame, self.far, self.over = [], None, None, 0, 0
        top = 0
        for s in segments:
            seq = s.seq + 1 if s.flags & SYN else s.seq
            # Of the offsets that the number can mean, the nearest to what is known.
            at = top + modulo(seq - base - top)
            furthest = max(self.known.find(0), 0) if "hole" in habits and 0 in self.known else top
            if s.flags & FIN and self.fin is None and at + s.length >= furthest:
                self.fin, self.fin_frame = at + s.length, s.frame
            payload = s.payload + s.padding if "padding" in habits else s.payload
            if not payload or s.flags & RST and "reset" not in habits:
                continue
            if at - top > (1 << 24 if opening else 1 << 30) and "far" not in habits:
                self.far += 1
                continue
            if at + len(payload) > most:
                self.over += 1
                continue
            if s.length == 1 and at + 1 == top and "keepalive" not in habits:
                continue  # RFC 9293 section 3.8.4
            self.copies.append((at, s))
            self.put(at, payload, "last" in habits)
            top = max(top, at + len(payload))
        if self.fin is not None and "fin" not in habits:
            del self.body[max(self.fin, 0):], self.known[max(self.fin, 0):]
        self.body, self.whole = bytes(self.body), 0 not in self.known

    def put(self, at, payload, last):
        if at < 0:
            at, payload = 0, payload[-at:]
        end = at + len(payload)
        if end > len(self.body) and payload:
            self.body.extend(bytes(end - len(self.body)))
            self.known.extend(bytes(end - len(self.known)))
        if 0 not in self.known[at:end] and not last:
            return
        if last or 1 not in self.known[at:end]:
            self.body[at:end], self.known[at:end] = payload, b"\1" * len(payload)
            return
        for i, byte in enumerate(payload, at):
            if not self.known[i]:
                self.body[i], self.known[i] = byte, 1

    def at(self, offset):
        """The frames that have the byte at this offset, with its value."""
        return [(s, s.payload[offset - at]) for at, s in self.copies if at <= offset < at + len(s.payload)]


def habits_of(theirs, segments):
    """The fewest habits with which the same packets give the peer's bytes, if any do: the proof of what it does."""
    cuts = {}
    for way in WAYS + ("fin",):
        groups = groups_by(way, segments)
        cuts.setdefault(tuple(tuple(s.frame for s in group) for group in groups), groups)
    possible = [habit for habit, can_matter in {
        "padding": any(s.padding for s in segments),
        "last": True,
        "keepalive": any(s.length == 1 for s in segments),
        "fin": any(s.flags & FIN for s in segments),
        "reset": any(s.flags & RST and (s.payload or s.padding) for s in segments),
        "early": not segments[0].flags & SYN,
        "empty": not any(s.flags & SYN for s in segments),
        "far": True,
    }.items() if can_matter]
    most = max(map(len, theirs), default=0) + (1 << 16)
    for n in range(5):
        for habits in itertools.combinations(possible, n):
            for groups in cuts.values():
                judged = [Judged(group, habits, most) for group in groups]
                made = [j.body for j in judged if j.body]
                left = list(theirs)
                if not any(j.over for j in judged) and len(made) == len(left) and take_equal(made, left) and not left:
                    return habits, len(groups)
    return None


def split_by_stream(segments):
    by = collections.defaultdict(list)
    for s in segments:
        by[s.stream].append(s)
    return list(by.values())


def split_by_syn(segments):
    """Where a SYN with another number begins another connection."""
    out, current, isn = [], [], None
    for s in segments:
        if s.flags & SYN and isn is not None and s.seq != isn:
            out.append(current)
            current = []
        if s.flags & SYN:
            isn = s.seq
        current.append(s)
    return out + [current] if current else out


def split_by_silence(segments, other):
    """As StreamDB does by its time limits: 5 minutes, 1 minute once a side has ended, 10 seconds once both have, each exact
    to the tick of a second."""
    out, current, last, ended = [], [], None, set()
    ours = {s.frame for s in segments}
    for s in sorted(segments + other, key=lambda s: s.frame):
        mine = s.frame in ours
        limit = (301, 61, 11)[len(ended)]
        if last is not None and s.time - last > limit:
            out.append(current)
            current, ended = [], set()
        last = s.time
        if s.flags & FIN:
            ended.add(mine)
        if s.flags & RST:
            ended = {True, False}
        if mine:
            current.append(s)
    return [group for group in out + [current] if group]


def split_by_fin(segments):
    """Where a connection is forgotten with its FIN, so that what comes after it is another one."""
    out, current = [], []
    for s in segments:
        current.append(s)
        if s.flags & (FIN | RST):
            out.append(current)
            current = []
    return out + [current] if current else out


def split_by_path(segments):
    by = collections.defaultdict(list)
    for s in segments:
        by[(s.vlan, s.protocols.split(":tcp")[0])].append(s)
    return list(by.values())


def same(ours, judged):
    """Ours may know more of the end: bytes that were acknowledged and never captured are a hole there."""
    return ours[:len(judged)] == judged and not ours[len(judged):].strip(b"\0")


def take_equal(ours, theirs):
    """Takes equal pairs out of both lists; says how many."""
    equal = 0
    for body in list(theirs):
        if body in ours:
            ours.remove(body)
            theirs.remove(body)
            equal += 1
    return equal


# How the connections of one tuple can be told apart.
WAYS = ("stream", "syn", "path", "stream and syn", "path and syn", "silence", "silence and syn")


def groups_by(way, segments, other=()):
    groups = [segments]
    if "silence" in way:
        groups = split_by_silence(segments, list(other))
    if "stream" in way:
        groups = split_by_stream(segments)
    if "path" in way:
        groups = [g for group in groups for g in split_by_path(group)]
    if way == "fin":
        groups = split_by_fin(segments)
    if "syn" in way:
        groups = [g for group in groups for g in split_by_syn(group)]
    return groups


def judge(ours, segments, other):
    """Whether the packets say what we say, under one of the ways to tell connections apart."""
    # A segment far away is believed or not by the window, which is known only where both SYNs were captured.
    # A FIN before bytes that wait behind a hole contradicts them; either may be right.
    # Past the end of ours by as much as a hole may be that our limits believe; a segment further on is no match for ours.
    most = max(map(len, ours), default=0) + (1 << 24)
    for way, habits in itertools.product(WAYS, ((), ("far",), ("hole",))):
        judged = [Judged(group, habits, most) for group in groups_by(way, segments, other)]
        if any(j.over for j in judged):
            continue
        judged = [j for j in judged if 1 in j.known]
        left = list(judged)
        for body in ours:
            match = next((j for j in left if same(body, j.body)), None)
            if match is None:
                break
            left.remove(match)
        else:
            if not left:
                return way, judged
    return None, [Judged(group) for group in split_by_stream(segments)]


def says(proof):
    """The cause that was proved, in words."""
    if proof is None:
        return "no segment has payload"
    habits, groups = proof
    words = [HABITS[habit] for habit in habits] + ["has connections of one tuple cut apart elsewhere"] * (groups > 1)
    return "peer " + " and ".join(words or ["puts it together as other connections"])


def only_padding(ours, theirs, segments):
    """The frames with bytes behind the IP packet, if what the peer has more than we is such bytes and zeros alone: at the
    end of a stream, or as a stream of its own."""
    behind = {s.padding: s.frame for s in reversed(segments) if s.padding}
    left = list(theirs)
    for body in ours:
        longer = next((x for x in left if x.startswith(body) and is_padding(x[len(body):], behind)), None)
        if longer is None:
            return None
        left.remove(longer)
    return sorted(behind.values()) if behind and all(is_padding(x, behind) for x in left) else None


def is_padding(tail, behind):
    return len(tail) < 64 and (tail in behind or not tail.strip(b"\0"))


def evidence(habits, segments):
    """Up to three segments that a habit is about."""
    about, first = [], {}
    fin = next((s.frame for s in segments if s.flags & FIN), None)
    for s in segments:
        if ("padding" in habits and s.padding or "reset" in habits and s.flags & RST and s.payload
                or "fin" in habits and s.payload and fin and s.frame > fin
                or "keepalive" in habits and s.length == 1
                or "last" in habits and s.payload and first.setdefault(s.seq, s.payload) != s.payload):
            about.append(s)
            if len(about) == 3:
                break
    return about


def explain(peer, ours, theirs, all_ours, all_theirs, segments, other, said):
    """Why two lists of streams of one direction differ: cause, whose, evidence. The first two lists are without what is
    equal in both."""
    way, judged = judge(all_ours, segments, other)
    fault = "peer" if way else "OURS?"
    first = segments[0] if segments else None
    if not all_ours:
        carrying = [s for s in segments if s.payload]
        if carrying and all(s.flags & RST for s in carrying):
            return "payload of a reset is not of the stream", "peer", f"frame {carrying[0].frame}"
        if segments and not carrying:
            habits = habits_of(all_theirs, segments)
            return says(habits), "peer", f"{sum(map(len, theirs))} bytes of the peer"
        return "StreamDB has no such stream", "OURS?", f"{sum(map(len, theirs))} bytes; frames of {first.protocols if first else 'none'}"
    if not theirs and not segments:
        return "no segment of it in tshark", "OURS?", f"{sum(map(len, ours))} bytes"
    if not theirs:
        if said:
            return "peer cannot read the capture", fault, said[:160]
        carrier = first.protocols
        return "peer has no such stream", fault, f"{sum(map(len, ours))} bytes in {carrier}, first frame {first.frame}"
    if way and "silence" in way:
        return "StreamDB ends a connection after silence", fault, f"{len(ours)} of ours, {len(theirs)} of the peer; told apart by {way}"
    if len(judged) > 1 and b"".join(theirs) == b"".join(ours):
        return "connections of one tuple are cut apart elsewhere", fault, f"{len(ours)} of ours, {len(theirs)} of the peer; told apart by {way}"
    if b"".join(theirs) == b"".join(ours):
        return "one stream in several pieces", fault, f"{len(ours)} of ours, {len(theirs)} of the peer"
    if all(same(x, y) for x, y in zip(ours, theirs)) and len(ours) == len(theirs):
        return "a hole at the end, known by a later acknowledgement or FIN", fault, f"{[len(x) - len(y) for x, y in zip(ours, theirs)]} bytes"
    if habits := habits_of(all_theirs, segments):
        where = next((i for i, (x, y) in enumerate(zip(ours[0], theirs[0])) if x != y), min(len(ours[0]), len(theirs[0]))) if ours else 0
        frames = ", ".join(f"frame {s.frame} seq {s.seq} len {s.length} flags {s.flags:#x}" for s in evidence(habits[0], segments))
        return says(habits), fault, f"proved by doing the same; {sum(map(len, ours))} against {sum(map(len, theirs))} bytes, first difference at {where}; {frames}"
    if frames := only_padding(ours, theirs, segments):
        return f"peer {HABITS['padding']}", fault, f"{[len(x) for x in ours]} against {[len(x) for x in theirs]} bytes; frames {frames[:3]} have such bytes, and nothing else is more"
    a, b = (ours or [b""])[0], (theirs or [b""])[0]
    best = next((j for j in judged if same(a, j.body)), judged[0] if judged else None)
    if len(ours) != len(theirs):
        paths = {(s.vlan, s.protocols.split(":tcp")[0]) for s in segments if s.payload}
        syns = {s.seq for s in segments if s.flags & SYN}
        if len(paths) > 1:
            return "one tuple in several VLANs or tunnels", fault, f"{len(paths)} paths, {len(ours)} of ours, {len(theirs)} of the peer; told apart by {way}"
        if len(syns) > 1:
            return "a tuple used again", fault, f"SYNs {sorted(syns)}, {len(ours)} of ours, {len(theirs)} of the peer; told apart by {way}"
    where = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    if best is None:
        return "not explained", "OURS?", f"{len(a)} against {len(b)} bytes"
    sizes = f"{len(a)} against {len(b)} bytes, first difference at {where}"
    copies = best.at(where)
    seen = ", ".join(f"frame {s.frame} seq {s.seq} len {len(s.payload)} flags {s.flags:#x}" for s, _ in copies[:3])
    if where >= len(b):
        if not copies and same(a, b):
            return "a hole at the end, known by a later acknowledgement or FIN", fault, sizes
        last = max((s.frame for at, s in best.copies if at < where), default=0)
        closing = [s for s in segments if s.flags & (FIN | RST) and s.frame <= (copies[0][0].frame if copies else last)]
        if closing:
            return "peer ends the stream at a FIN or reset; more came", fault, f"{sizes}; frame {closing[0].frame} flags {closing[0].flags:#x}, then {seen}"
        return "peer ends early", fault, f"{sizes}; {seen}"
    if where >= len(a):
        extra = best.at(where)
        if best.fin is not None and where >= best.fin:
            return "peer has bytes after the FIN", fault, f"{sizes}; FIN at {best.fin} in frame {best.fin_frame}; {seen}"
        resets = [s for s in segments if s.flags & RST and s.payload]
        if resets and not extra:
            return "peer has the payload of a reset", fault, f"{sizes}; frame {resets[0].frame}"
        return "peer goes on", fault, f"{sizes}; {seen}"
    if not copies and any(len(s.payload) < s.length for _, s in best.copies):
        cut = next(s for _, s in best.copies if len(s.payload) < s.length)
        return "peer does not keep the room of bytes that the snap length cut", fault, f"{sizes}; frame {cut.frame} has {len(cut.payload)} of {cut.length} bytes"
    if not copies:
        return "peer does not keep the room of a hole", fault, f"{sizes}; no frame has seq {(0 if not best.copies else best.copies[0][1].seq - best.copies[0][0] + where) % (1 << 32)}"
    if len({value for _, value in copies}) > 1:
        short = any(len(s.payload) == 1 for s, _ in copies[1:])
        return ("a keep-alive's byte overwrites" if short else "copies differ, and the peer has another one"), fault, f"{sizes}; {seen}"
    if not best.whole or best.far:
        return "peer puts bytes after a hole elsewhere", fault, f"{sizes}; {seen}"
    order = [at for at, _ in best.copies]
    if order != sorted(order):
        return "peer does not put segments in order", fault, f"{sizes}; {seen}"
    return "peer's bytes lie elsewhere", fault, f"{sizes}; {seen}"


def of_peers(args, name, plain, folder, connections):
    kept = args.keep and os.path.join(args.keep, f"{name}.{os.path.getsize(plain)}.pickle")
    if kept and os.path.exists(kept):
        with open(kept, "rb") as f:
            return pickle.load(f)
    found = (*of_tshark(plain, connections, args.limit), *of_tcpflow(plain, folder, args.limit))
    if kept:
        with open(kept, "wb") as f:
            pickle.dump(found, f)
    return found


def compare(args, path):
    name = os.path.basename(path)
    counts, differences, notes = collections.Counter(), [], []
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        try:
            plain = plain_file(path, folder)
            ours, said = of_streamdb(args.bin, path, folder, args.limit)
            if said:
                notes.append(said)
            keys = {min(key, key[2:] + key[:2]) for key in ours}
            connections = max(len(keys), sum(map(len, ours.values())))
            followed, segments, flows, refusal = of_peers(args, name, plain, folder, connections)
        except (subprocess.TimeoutExpired, RuntimeError, OSError) as error:
            return name, counts, [Difference(name, "-", (), "could not be compared", "OURS?", str(error)[:200])], notes
    for key in set(ours) | set(segments):
        if ours.get(key) or any(s.payload for s in segments.get(key, [])):
            counts["streams"] += len(ours.get(key, []))
            other = segments.get(key[2:] + key[:2], [])
            way, _ = judge(ours.get(key, []), segments.get(key, []), other)
            counts["as the packets say"] += len(ours.get(key, [])) if way else 0
            if not way:
                judged = [j.body for j in map(Judged, split_by_stream(segments.get(key, []))) if j.body]
                mine = ours.get(key, [])
                why = explain("packets", mine, judged, mine, judged, segments.get(key, []), other, "")
                differences.append(Difference(name, "packets", key, why[0], "OURS?" if why[1] != "peer" else "peer", why[2]))
    for peer, found, said in (("tcpflow", flows, refusal), ("tshark", followed, "")):
        for key in sorted(set(ours) | set(found)):
            left, theirs = list(ours.get(key, [])), list(found.get(key, []))
            counts[peer] += max(len(left), len(theirs))
            counts[peer + " equal"] += take_equal(left, theirs)
            if left or theirs:
                n = max(len(left), len(theirs))
                why = explain(peer, left, theirs, ours.get(key, []), found.get(key, []), segments.get(key, []),
                              segments.get(key[2:] + key[:2], []), said)
                counts[peer + " different"] += n
                differences.append(Difference(name, peer, key, *why))
    return name, counts, differences, notes


def by_cause(differences):
    kinds = collections.defaultdict(list)
    for d in differences:
        kinds[(d.peer, d.fault, d.cause)].append(d)
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    parser.add_argument("--bin", default=os.path.join(home, "target", "release", "streamdb"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one program on one capture")
    parser.add_argument("--keep", metavar="FOLDER", help="keep there what the peers said (trusted: pickles), and do not ask them again")
    parser.add_argument("--table", help="write all differences there, tab-separated")
    parser.add_argument("paths", nargs="+", metavar="CAPTURE-OR-FOLDER")
    args = parser.parse_args()
    if not os.access(args.bin, os.X_OK):
        print(f"compare-peers: {args.bin} is not there; cargo build --release -p streamdb", file=sys.stderr)
        return 2
    captures = []
    for path in args.paths:
        inside = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        captures += [p for p in inside if re.search(r"\.(pcap|pcapng|cap|dmp)(\.gz)?$", p)]
    total, causes, table = collections.Counter(), collections.Counter(), []
    with ProcessPoolExecutor(args.jobs) as pool:
        for name, counts, differences, notes in pool.map(compare, itertools.repeat(args), captures):
            total += counts
            table += differences
            if differences or notes:
                print(f"{name}: {counts['streams']} streams; equal with tcpflow {counts['tcpflow equal']} of {counts['tcpflow']}, "
                      f"with tshark {counts['tshark equal']} of {counts['tshark']}", flush=True)
            for note in notes:
                print(f"    note: {note}")
            for kind, alike in by_cause(differences).items():
                causes[kind] += len(alike)
                for d in alike[:SHOWN]:
                    print(f"    {d.peer} {':'.join(map(str, d.key))}: {d.cause} [{d.fault}]: {d.detail}")
                if len(alike) > SHOWN:
                    print(f"    {kind[0]}: {len(alike) - SHOWN} more of this capture: {kind[2]} [{kind[1]}]")
    print(f"\n{len(captures)} captures, {total['streams']} TCP streams with bytes, {total['as the packets say']} as the packets say")
    for peer in ("tcpflow", "tshark"):
        print(f"{peer}: {total[peer]} streams compared, {total[peer + ' equal']} equal, {total[peer + ' different']} different")
    for (peer, fault, cause), n in sorted(causes.items()):
        print(f"    {peer:8} {fault:6} {n:5}  {cause}")
    if args.table:
        with open(args.table, "w") as out:
            for d in table:
                print(d.capture, d.peer, ":".join(map(str, d.key)), d.cause, d.fault, d.detail, sep="\t", file=out)
    return 1 if any(fault == "OURS?" for _, fault, _ in causes) else 0


sys.exit(main())
