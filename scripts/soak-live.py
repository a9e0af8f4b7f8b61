#!/usr/bin/env python3
"""A long run of everything at once, as a sensor has it: live capture at a steady rate, retention that turns the buckets over,
searches and downloads, a reader that is killed and started again.

  soak-live.py [--bin PATH/streamdb] [--minutes 30] [--rate 4M] [--bucket 20s] [--max-bytes 400M] [--data DIR]

Needs root, and ip(8). Two network namespaces are joined by a veth pair. In one a web server makes bodies out of the number in
their path, so that everybody can say what they are; from the other a client fetches one after the other, about --rate bytes a
second. `streamdb capture` listens on the server's end, with --bucket and --max-bytes.

Meanwhile, each second:
  - a search by URI for a body that was fetched 2 to 60 s ago, through `streamdb serve`: exactly one whole object must have
    its SHA-256
  - a download by oid of an object that was found at any time before: its bytes, or 410 when retention dropped them
Every minute the reader that is asked is killed (SIGKILL) and started again; another one, asked for the same downloads, goes
on all the time. Every 10 seconds the resident memory and the open descriptors of the capture and of the reader that goes on
are noted.

At the end: the capture is asked to end, its counters must add up, `verify --deep` must find nothing, at least 20 buckets must
have been dropped (in runs of 15 minutes and more), and memory and descriptors of the last third must not be more than those of
the second third, but for a tenth. Prints what was measured; exit status 1 when something was not as it must be."""
import argparse
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SERVER = r"""
import hashlib, http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        number, size = (int(part) for part in self.path.strip('/').split('-'))
        body = BODY(number, size)
        self.send_response(200)
        self.send_header('Content-Type', 'application/octet-stream')
        self.send_header('Content-Length', str(size))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
Server(('10.77.0.1', 80), Handler).serve_forever()
"""

MAKE_BODY = r"""
import hashlib
def BODY(number, size):
    seed = hashlib.sha256(str(number).encode()).digest()
    # Half of it does not compress.
    noise = hashlib.shake_256(seed).digest(size // 2)
    return noise + (b'%08d plain text ' % number * (size // 20 + 1))[: size - len(noise)]
"""
exec(MAKE_BODY)

CLIENT = r"""
import http.client, random, sys, time
rate, end = float(sys.argv[1]), time.time() + float(sys.argv[2])
choice, number, sent, begun = random.Random(7), 0, 0, time.time()
connection = None
while time.time() < end:
    size = int(choice.choice([2e3, 2e4, 2e5, 2e6]) * (0.5 + choice.random()))
    connection = connection or http.client.HTTPConnection('10.77.0.1', 80, timeout=30)
    connection.request('GET', f'/{number}-{size}', headers={'Host': 'soak.example'})
    body = connection.getresponse().read()
    if body != BODY(number, size):
        sys.exit('the server gave something else')
    print(number, size, time.time(), flush=True)
    if number % 5 == 4:
        connection.close()
        connection = None
    number += 1
    sent += size
    time.sleep(max(0, begun + sent / rate - time.time()))
"""


def size(text):
    return int(text.rstrip('kKMG')) << {'k': 10, 'K': 10, 'M': 20, 'G': 30}.get(text[-1], 0)


def run(*command, **kwargs):
    return subprocess.run(command, check=True, **kwargs)


class Reader:
    """A `streamdb serve`, and what it answers."""

    def __init__(self, binary, data, port):
        self.command = [binary, 'serve', '--data', data, '--listen', f'127.0.0.1:{port}']
        self.port = port
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.get('/streamdb/?help=1')
                return
            except OSError:
                time.sleep(0.05)
        sys.exit('a reader did not begin')

    def restart(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def get(self, target):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try:
            connection.request('GET', target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def usage(pid):
    with open(f'/proc/{pid}/status') as status:
        fields = dict(line.split(':', 1) for line in status)
    anonymous = int(fields['RssAnon'].split()[0]) * 1024
    return anonymous, len(os.listdir(f'/proc/{pid}/fd'))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    options.add_argument('--bin', default=os.path.join(here, '../target/release/streamdb'))
    options.add_argument('--minutes', type=float, default=30)
    options.add_argument('--rate', type=size, default=size('4M'))
    options.add_argument('--bucket', default='20s')
    options.add_argument('--max-bytes', default='400M')
    options.add_argument('--data')
    args = options.parse_args()
    if os.geteuid() != 0:
        sys.exit('soak-live.py: capturing from an interface needs root')

    work = tempfile.mkdtemp(prefix='streamdb-soak-')
    data = args.data or os.path.join(work, 'data')
    near, far = f'sdb-soak-{os.getpid()}-near', f'sdb-soak-{os.getpid()}-far'
    processes, faults = [], []

    def fault(what):
        faults.append(what)
        if len(faults) <= 20:
            print(f'FAULT at {time.strftime("%H:%M:%S")}: {what}', flush=True)

    try:
        for namespace in (near, far):
            run('ip', 'netns', 'add', namespace)
        run('ip', '-n', near, 'link', 'add', 'near0', 'type', 'veth', 'peer', 'name', 'far0', 'netns', far)
        for namespace, device, address in ((near, 'near0', '10.77.0.1/24'), (far, 'far0', '10.77.0.2/24')):
            run('ip', '-n', namespace, 'addr', 'add', address, 'dev', device)
            run('ip', '-n', namespace, 'link', 'set', device, 'up')
        inside = lambda namespace, *command: ['ip', 'netns', 'exec', namespace, *command]
        seconds = args.minutes * 60
        python = sys.executable
        processes.append(subprocess.Popen(inside(near, python, '-c', MAKE_BODY + SERVER)))
        errors = open(os.path.join(work, 'capture.err'), 'w+')
        command = [args.bin, 'capture', '-i', 'near0', '--data', data, '--json', '--bucket', args.bucket, '--max-bytes', args.max_bytes]
        # exec, so that it is the process whose memory is looked at.
        capture = subprocess.Popen(inside(near, *command), stdout=subprocess.PIPE, stderr=errors, text=True)
        processes.append(capture)
        time.sleep(2)
        steady, killed = Reader(args.bin, data, 18481), Reader(args.bin, data, 18482)
        processes += [steady.process]
        client = subprocess.Popen(inside(far, python, '-c', MAKE_BODY + CLIENT, str(args.rate), str(seconds)), stdout=subprocess.PIPE, text=True)
        processes.append(client)

        fetched, lock = [], threading.Lock()

        def follow():
            for line in client.stdout:
                number, length, when = line.split()
                with lock:
                    fetched.append((int(number), int(length), float(when)))

        threading.Thread(target=follow, daemon=True).start()
        begun = time.time()
        choice = random.Random(3)
        found, samples = [], []
        searches = downloads = gone = restarts = 0
        slowest = {'search': 0.0, 'download': 0.0}
        next_minute, next_sample, tick = begun + 60, begun + 10, begun + 5
        while time.time() < begun + seconds and client.poll() is None:
            time.sleep(max(0, tick - time.time()))
            tick = max(tick + 1, time.time())
            now = time.time()
            with lock:
                recent = [one for one in fetched if now - 60 < one[2] < now - 2]
            if recent:
                number, length, _ = choice.choice(recent)
                wanted = hashlib.sha256(BODY(number, length)).hexdigest()
                since = time.time()
                status, text = killed.get(f'/streamdb/?uri=/{number}-{length}&host=soak.example&as_json=1')
                slowest['search'] = max(slowest['search'], time.time() - since)
                searches += 1
                rows = []
                if status == 200:
                    rows = [row for row in objects(json.loads(text)) if row.get('sha256') == wanted]
                if len(rows) != 1 or rows[0].get('complete') is not True:
                    fault(f'/{number}-{length}: {len(rows)} objects with its content, status {status}: {text[:300]!r}')
                else:
                    found.append((rows[0]['oid'], number, length, wanted))
            if found:
                oid, number, length, wanted = choice.choice(found)
                for reader in (killed, steady):
                    since = time.time()
                    status, body = reader.get(f'/streamdb/?oid={oid}')
                    slowest['download'] = max(slowest['download'], time.time() - since)
                    downloads += 1
                    if status == 410:
                        gone += 1
                    elif status != 200 or hashlib.sha256(body).hexdigest() != wanted:
                        fault(f'oid {oid} of /{number}-{length}: status {status}, {len(body)} bytes: {body[:200]!r}')
            if now >= next_minute:
                next_minute += 60
                killed.restart()
                restarts += 1
            if now >= next_sample:
                next_sample += 10
                samples.append((now - begun, *usage(capture.pid), *usage(steady.process.pid)))
        if client.wait() != 0:
            fault('the client failed')
        with lock:
            total = sum(length for _, length, _ in fetched)
        time.sleep(1)
        capture.send_signal(signal.SIGTERM)
        summary = json.loads(capture.communicate(timeout=60)[0])
        if capture.returncode != 0:
            fault(f'the capture ended with {capture.returncode}')
        if summary['unaccounted_payload_bytes'] != 0:
            fault(f'{summary["unaccounted_payload_bytes"]} bytes are not accounted for')
        killed.process.kill()
        buckets = subprocess.run([args.bin, 'buckets', '--data', data, '--dropped', '--json'], capture_output=True, text=True)
        states = [json.loads(line)['state'] for line in buckets.stdout.splitlines()]
        dropped = states.count('dropped')
        if dropped < 20 and args.minutes >= 15:
            fault(f'only {dropped} buckets were dropped')
        verified = subprocess.run([args.bin, 'verify', '--data', data, '--deep'], capture_output=True, text=True)
        if verified.returncode != 0:
            fault(f'verify: {verified.stdout} {verified.stderr}')

        print(f'{seconds / 60:.0f} minutes: {len(fetched)} bodies, {total / 1e6:.0f} MB, {total / seconds / 1e6:.1f} MB/s; '
              f'{summary["frames"]} frames, {summary["dropped_by_kernel"]} dropped by the kernel; '
              f'{dropped} buckets dropped, {len(states) - dropped} there')
        print(f'{searches} searches (slowest {slowest["search"] * 1e3:.0f} ms), {downloads} downloads (slowest '
              f'{slowest["download"] * 1e3:.0f} ms; {gone} of what is gone by now), a reader killed {restarts} times')
        third = len(samples) // 3
        names = ['memory of the capture', 'descriptors of the capture', 'memory of the reader', 'descriptors of the reader']
        for column, name in enumerate(names, 1):
            values = [sample[column] for sample in samples]
            middle, last = max(values[third:2 * third] or [0]), max(values[2 * third:] or [0])
            unit = (lambda v: f'{v / 1e6:.1f} MB') if 'memory' in name else str
            print(f'{name}: at most {unit(max(values[:third] or [0]))}, {unit(middle)}, {unit(last)} in the thirds of the time')
            if third >= 6 and last > middle * 1.1 + (4e6 if 'memory' in name else 4):
                fault(f'{name} grew')
        errors.seek(0)
        print('the capture said:', *(f'  {line}' for line in errors.read().splitlines()), sep='\n')
        print('verify said:', verified.stdout.strip())
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for namespace in (near, far):
            subprocess.run(['ip', 'netns', 'del', namespace], stderr=subprocess.DEVNULL)
        shutil.rmtree(work, ignore_errors=True)
    print('all as it must be' if not faults else f'{len(faults)} faults')
    return 1 if faults else 0


def objects(answer):
    """The rows of objects in a search's answer, however deep."""
    if isinstance(answer, dict):
        if 'sha256' in answer and 'oid' in answer:
            yield answer
        for value in answer.values():
            yield from objects(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from objects(value)


if __name__ == '__main__':
    sys.exit(main())
