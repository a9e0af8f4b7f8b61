#!/usr/bin/env python3
"""Moves the times of a capture's frames; not another byte is touched. Usage: shift.py SCENES FROM TO

SCENES has a line for each part of the capture: when it begins, in nanoseconds since 1970, and how many are to be added from
there on. FROM is a little-endian pcap file with nanoseconds.
"""
import struct
import sys

scenes = [tuple(map(int, line.split())) for line in open(sys.argv[1])]
data = bytearray(open(sys.argv[2], "rb").read())
assert data[:4] == b"\x4d\x3c\xb2\xa1", "not a little-endian pcap file with nanoseconds"
out = data[:24]
place, last = 24, 0
while place < len(data):
    seconds, nanos, length = struct.unpack_from("<III", data, place)
    recorded = seconds * 10**9 + nanos
    # Frames before the first scene (neighbours looking for each other) are left out.
    added = [add for begin, add in scenes if begin <= recorded]
    if added:
        moved = recorded + added[-1]
        assert moved >= last, "a scene begins before the one before it is over"
        last = moved
        struct.pack_into("<II", data, place, moved // 10**9, moved % 10**9)
        out += data[place:place + 16 + length]
    place += 16 + length
open(sys.argv[3], "wb").write(out)
