#!/usr/bin/env python3
"""A bad link between two taps: frames are lost, late, doubled. Usage: relay.py TAP_A TAP_B SEED; says `ready` when both are there.

The taps are made in the namespace of the caller, who then moves them; they stay tied to this program.
"""
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

DELAY, LATE = 0.0015, 0.004  # seconds: each way; on top, for what is held back
LOST, HELD, DOUBLED = 0.04, 0.06, 0.03  # shares


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000))  # TUNSETIFF: IFF_TAP, IFF_NO_PI
    return fd


def main(name_a, name_b, seed):
    chance = random.Random(int(seed))
    ends = tap(name_a), tap(name_b)
    other = dict(zip(ends, reversed(ends)))
    print("ready", flush=True)
    queue, count = [], 0
    while True:
        wait = max(0, queue[0][0] - time.monotonic()) if queue else 1
        for fd in select.select(ends, [], [], wait)[0]:
            try:
                frame = os.read(fd, 2048)
            except OSError:
                continue  # the end is down: not yet moved and up
            # Neighbour discovery passes: without it there is nothing to record.
            plain = frame[12:14] == b"\x08\x06"
            if not plain and chance.random() < LOST:
                continue
            for _ in range(2 if not plain and chance.random() < DOUBLED else 1):
                late = chance.uniform(0.0005, LATE) if not plain and chance.random() < HELD else 0
                count += 1
                heapq.heappush(queue, (time.monotonic() + DELAY + late, count, other[fd], frame))
        while queue and queue[0][0] <= time.monotonic():
            _, _, fd, frame = heapq.heappop(queue)
            try:
                os.write(fd, frame)
            except OSError:
                pass


main(*sys.argv[1:])
