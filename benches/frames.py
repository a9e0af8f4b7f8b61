#!/usr/bin/env python3
"""CPU per frame of a live capture, beside others that only write frames to a file: `tcpdump -w`, `netsniff-ng`, `daemonlogger`.

  sudo benches/frames.py [--bin PATH/streamdb] [--seconds 10] [--rounds 3] [--rate 64:50000 --rate 1500:25000] [--out DIR]

Two network namespaces are joined by a veth pair. At one end tcpreplay sends, at a fixed rate and from the first processor, frames of
one size: connections of TCP, 1,000 at once, opened and closed as they should be, their bytes in order, their text half noise. At the
other end one tool at a time captures, on the second processor, with a ring of 64 MiB where it takes one. CPU is what the kernel says
that the tool's process used (rusage: user and system), divided by the frames that it says it has; what the kernel does to carry a
frame over the wire is the sender's. The rounds take turns, and the median of them is what counts. Frames that came and are not in
the tool's file are told as lost: a figure beside such a number says little.

StreamDB also puts the streams together, compresses, and keeps what is needed to find them; it runs as its sensor runs it, with what
takes streams apart left to another process (--no-derive), once as it is by default, and once with --compression fast.

Needs root, two processors, ip(8), taskset(1), and tcpreplay; tools that are not installed are left out, and that is said."""
import argparse
import hashlib
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 1000
NEAR, FAR = f'sdb-frames-{os.getpid()}-near', f'sdb-frames-{os.getpid()}-far'
MACS = bytes.fromhex('020000000001020000000002')
SYN, ACK, FIN, PSH = 2, 16, 1, 8


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(client, to_server, seq, ack, flags, payload):
    """An Ethernet frame of TCP between a client, by number, and the server."""
    ends = [(bytes([10, 1, client >> 8, client & 255]), 20000 + client), (bytes([10, 2, 0, 1]), 80)]
    (src, sport), (dst, dport) = ends if to_server else ends[::-1]
    tcp = struct.pack('!HHIIBBHHH', sport, dport, seq, ack, 0x50, flags, 65535, 0, 0) + payload
    pseudo = src + dst + struct.pack('!BBH', 0, 6, len(tcp))
    padded = pseudo + tcp + bytes(len(tcp) & 1)
    tcp = tcp[:16] + struct.pack('!H', checksum(padded)) + tcp[18:]
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + src + dst
    ip = ip[:10] + struct.pack('!H', checksum(ip)) + ip[12:]
    return MACS + b'\x08\x00' + ip + tcp


def frames(size, each):
    """All connections at once: opened, `each` frames of data of this size in turn from the server, closed."""
    length = size - 54
    text = b'<div class="stream">the bytes of a network</div>\n'
    begin = lambda client: (client * 7919 + 1, client * 104729 + 1)
    for client in range(CONNECTIONS):
        a, b = begin(client)
        yield frame(client, True, a - 1, 0, SYN, b'')
        yield frame(client, False, b - 1, a, SYN | ACK, b'')
        yield frame(client, True, a, b, ACK, b'')
    for n in range(each):
        for client in range(CONNECTIONS):
            a, b = begin(client)
            noise = hashlib.shake_256(struct.pack('!II', n, client)).digest(length // 2)
            payload = (noise + text * (length // len(text) + 1))[:length]
            yield frame(client, False, b + n * length, a, ACK | PSH, payload)
    for client in range(CONNECTIONS):
        a, b = begin(client)
        yield frame(client, False, b + each * length, a, ACK | FIN, b'')
        yield frame(client, True, a, b + each * length + 1, ACK | FIN, b'')
        yield frame(client, False, b + each * length + 1, a + 1, ACK, b'')


def write_capture(path, size):
    count = 0
    with open(path, 'wb') as out:
        out.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for data in frames(size, 30):
            out.write(struct.pack('<IIII', count // 1000000, count % 1000000, len(data), len(data)) + data)
            count += 1
    return count


def inside(namespace, *command):
    return ['ip', 'netns', 'exec', namespace, *map(str, command)]


def run(*command):
    subprocess.run(command, check=True)


def frames_in(path):
    """Frames in a capture file of the old format."""
    count = 0
    with open(path, 'rb') as file:
        header = file.read(24)
        order = '<' if header[:4] in (b'\xd4\xc3\xb2\xa1', b'\x4d\x3c\xb2\xa1') else '>'
        while len(head := file.read(16)) == 16:
            file.seek(struct.unpack(order + '4I', head)[2], 1)
            count += 1
    return count


class Tool:
    """One that captures from far0 into a folder, until SIGINT."""

    def __init__(self, name, command, count):
        self.name, self.command, self.count = name, command, count

    def measure(self, folder, send):
        os.makedirs(folder)
        log = open(os.path.join(folder, 'said'), 'w+')
        summary = open(os.path.join(folder, 'summary'), 'w+')
        command = inside(FAR, 'taskset', '-c', 1, *self.command(folder))
        process = subprocess.Popen(command, stdout=summary, stderr=log, cwd=folder)
        time.sleep(1.5)
        if process.poll() is not None:
            log.seek(0)
            sys.exit(f'{self.name} ended at once: {log.read()}')
        sent = send()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(process.pid, 0)
        has = self.count(folder)
        shutil.rmtree(folder)
        cpu = usage.ru_utime + usage.ru_stime
        return cpu / max(has, 1) * 1e9, max(sent - has, 0)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    options.add_argument('--bin', default=os.path.join(here, '../target/release/streamdb'))
    options.add_argument('--seconds', type=int, default=10)
    options.add_argument('--rounds', type=int, default=3)
    options.add_argument('--rate', action='append', help='SIZE:FRAMES A SECOND')
    options.add_argument('--out', default='/var/tmp')
    args = options.parse_args()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2 or not shutil.which('tcpreplay'):
        sys.exit('frames.py: it needs root, two processors, and tcpreplay')
    binary = os.path.abspath(args.bin)

    def only_capture(folder):
        return frames_in(next(os.path.join(folder, name) for name in sorted(os.listdir(folder)) if 'pcap' in name))

    def ours(*flags):
        command = lambda folder: [binary, 'capture', '-i', 'far0', '--data', f'{folder}/data', '--buffer', '64M', '--no-derive',
                                  '--json', *flags]
        return command, lambda folder: json.load(open(os.path.join(folder, 'summary')))['frames']

    tools = [
        Tool('tcpdump', lambda folder: ['tcpdump', '-i', 'far0', '-B', '65536', '-Z', 'root', '-w', 'a.pcap'], only_capture),
        Tool('netsniff-ng', lambda folder: ['netsniff-ng', '-i', 'far0', '-o', 'a.pcap', '-s', '-S', '64MiB'], only_capture),
        Tool('daemonlogger', lambda folder: ['daemonlogger', '-i', 'far0', '-l', folder, '-n', 'a.pcap'], only_capture),
        Tool('streamdb', *ours()),
        Tool('streamdb, fast', *ours('--compression', 'fast')),
    ]
    for tool in list(tools[:3]):
        if not shutil.which(tool.name):
            print(f'{tool.name} is not installed, and is left out')
            tools.remove(tool)
    work = tempfile.mkdtemp(prefix='streamdb-frames-', dir=args.out)
    try:
        for namespace in (NEAR, FAR):
            run('ip', 'netns', 'add', namespace)
        run('ip', '-n', NEAR, 'link', 'add', 'near0', 'type', 'veth', 'peer', 'name', 'far0', 'netns', FAR)
        for namespace, device in ((NEAR, 'near0'), (FAR, 'far0')):
            run('ip', '-n', namespace, 'link', 'set', device, 'addrgenmode', 'none')
            run('ip', '-n', namespace, 'link', 'set', device, 'txqueuelen', '10000', 'up')
        print(f'{os.uname().release}, load {os.getloadavg()[0]:.1f}; {args.seconds} s a run, the median of {args.rounds}')
        for text in args.rate or ['64:50000', '1500:25000']:
            size, rate = map(int, text.split(':'))
            capture = os.path.join(work, f'{size}.pcap')
            count = write_capture(capture, size)
            loops = max(1, args.seconds * rate // count)

            def send():
                command = inside(NEAR, 'taskset', '-c', 0, 'tcpreplay', '-q', '-K', '-i', 'near0', f'--pps={rate}', f'--loop={loops}')
                subprocess.run([*command, capture], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                return count * loops

            results = {tool.name: [] for tool in tools}
            for _ in range(args.rounds):
                for tool in tools:
                    results[tool.name].append(tool.measure(os.path.join(work, 'run'), send))
            base = None
            print(f'\nframes of {size} bytes, {rate} a second, {count * loops} a run')
            for name, figures in results.items():
                cpu = statistics.median(figure for figure, _ in figures)
                base = base or cpu
                lost = max(lost for _, lost in figures)
                print(f'  {name:16} {cpu:8.0f} ns a frame  {cpu / base:5.2f} x {next(iter(results))}'
                      f'  {cpu * rate / 1e7:5.1f} % of a processor  {lost} lost at most')
    finally:
        for namespace in (NEAR, FAR):
            subprocess.run(['ip', 'netns', 'del', namespace], stderr=subprocess.DEVNULL)
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
