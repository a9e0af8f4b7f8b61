#!/usr/bin/env python3
"""A long run of everything at once, as a sensor has it: `streamdb run` on a port that mirrors what two others say to each other,
retention that turns the buckets over, searches and downloads, the configuration read again, and processes that are killed.

  soak-live.py [--bin PATH/streamdb] [--minutes 30] [--rate 4M] [--bucket 20s] [--max-bytes 400M] [--data DIR]

Needs root, and ip(8). A bridge that learns nothing joins three ports: a web server, which makes bodies out of the number in their
path, so that everybody can say what they are; a client, which fetches one after the other, about --rate bytes a second; and the
sensor's, where all that the two say comes out. The sensor runs as the user nobody, confined, with --bucket and --max-bytes.

Meanwhile, each second:
  - a search by URI for a body that was fetched 2 to 60 s ago: exactly one whole object must have its SHA-256
  - a download by oid of an object that was found at any time before: its bytes, or 410 when retention dropped them
Every 30 seconds the configuration is changed and read again. In the first half of the time, every two minutes one of the processes is
killed (SIGKILL): capture, derive and serve in turn. What was fetched about when the capture was killed is not asked for; and until a
killed process is there again, nothing is asked that needs it. Every 10 seconds memory (the process's own), open descriptors, and how
far derivation is behind are noted. (Derive and serve begin anew with each configuration; capture goes on.)

At the end: the sensor is asked to end, and must within 10 s; `verify --deep` must find nothing, at least 20 buckets must have been
dropped (in runs of 15 minutes and more), each process must have been started again as often as it was killed, and memory, descriptors
and lag of the last quarter must not be more than those before, but for a tenth. Prints what was measured; exit status 1 when something
was not as it must be."""
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


CONFIG = """data = {data}
user = "nobody"
[capture]
interface = {interface}
buffer = "64M"
[store]
bucket = "{bucket}"
[retention]
max_bytes = "{max_bytes}"
[http]
listen = "127.0.0.1:{port}"
[[cutoff]]
port = "{unused}"
first = "64K"
"""
NAMES = ('capture', 'derive', 'serve')
# So long after it was killed, a process is there again, and has made up for what it left.
AGAIN = 20


class Sensor:
    """A `streamdb run`, and what it answers."""

    def __init__(self, binary, config, port, log):
        self.port = port
        self.process = subprocess.Popen([binary, 'run', '--config', config], stdout=log, stderr=log)
        self.killed = {name: [] for name in NAMES}
        self.refused = 0.0
        for _ in range(400):
            try:
                if self.ask('/ready')[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit('the sensor did not begin')

    def get(self, target):
        """An answer. While the process that serves reads its configuration, nobody listens for a moment: how long is noted."""
        since = time.time()
        while True:
            try:
                begun = time.time()
                answer = self.ask(target)
                self.refused = max(self.refused, begun - since)
                return answer
            except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
                if time.time() - since > 10:
                    raise
                time.sleep(0.02)

    def ask(self, target):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try:
            connection.request('GET', target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def processes(self):
        """Its processes by name."""
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children') as children:
            pids = [int(pid) for pid in children.read().split()]
        found = {}
        for pid in pids:
            try:
                with open(f'/proc/{pid}/cmdline', 'rb') as line:
                    found[line.read().split(b'\0')[1].decode()] = pid
            except (OSError, IndexError):
                pass
        return found

    def kill(self, name):
        os.kill(self.processes()[name], signal.SIGKILL)
        self.killed[name].append(time.time())

    def is_there(self, name, at):
        return all(abs(at - killed) > AGAIN for killed in self.killed[name])

    def lag(self):
        """How far derivation is behind, in seconds."""
        for line in self.get('/metrics')[1].decode().splitlines():
            if line.startswith('streamdb_derive_lag_seconds'):
                return float(line.split()[-1])
        return 0.0


def usage(pid):
    with open(f'/proc/{pid}/status') as status:
        fields = dict(line.split(':', 1) for line in status)
    return int(fields['RssAnon'].split()[0]) * 1024, len(os.listdir(f'/proc/{pid}/fd'))


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
    # Others may read the program and write the data.
    os.chmod(work, 0o755)
    data = args.data or os.path.join(work, 'data')
    config = os.path.join(work, 'streamdb.toml')
    switch, near, far = (f'sdb-soak-{os.getpid()}-{name}' for name in ('switch', 'near', 'far'))
    span = f'span{os.getpid() % 100000}'
    processes, faults = [], []

    def fault(what):
        faults.append(what)
        if len(faults) <= 20:
            print(f'FAULT at {time.strftime("%H:%M:%S")}: {what}', flush=True)

    def write_config(unused):
        values = dict(data=json.dumps(data), interface=json.dumps(span), bucket=args.bucket, max_bytes=args.max_bytes)
        with open(config, 'w') as file:
            file.write(CONFIG.format(port=18481, unused=unused, **values))

    try:
        for namespace in (switch, near, far):
            run('ip', 'netns', 'add', namespace)
        run('ip', '-n', switch, 'link', 'add', 'bridge0', 'type', 'bridge', 'ageing_time', '0')
        run('ip', '-n', switch, 'link', 'set', 'bridge0', 'up')
        for namespace, device, port in ((near, 'near0', 'port0'), (far, 'far0', 'port1'), (None, span, 'port2')):
            run('ip', '-n', switch, 'link', 'add', port, 'type', 'veth', 'peer', 'name', device, 'netns', namespace or str(os.getpid()))
            run('ip', '-n', switch, 'link', 'set', port, 'master', 'bridge0', 'up')
            place = ['-n', namespace] if namespace else []
            # What listens there says nothing.
            run('ip', *place, 'link', 'set', device, 'addrgenmode', 'none', 'up')
        run('ip', '-n', near, 'addr', 'add', '10.77.0.1/24', 'dev', 'near0')
        run('ip', '-n', far, 'addr', 'add', '10.77.0.2/24', 'dev', 'far0')
        inside = lambda namespace, *command: ['ip', 'netns', 'exec', namespace, *command]
        seconds = args.minutes * 60
        python = sys.executable
        processes.append(subprocess.Popen(inside(near, python, '-c', MAKE_BODY + SERVER)))
        log = open(os.path.join(work, 'log'), 'w+')
        write_config(1)
        sensor = Sensor(args.bin, config, 18481, log)
        processes.append(sensor.process)
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
        searches = downloads = gone = reloads = 0
        slowest = {'search': 0.0, 'download': 0.0}
        next_kill, next_reload, next_sample, tick = begun + 120, begun + 30, begun + 10, begun + 5
        to_kill = 0
        while time.time() < begun + seconds and client.poll() is None:
            time.sleep(max(0, tick - time.time()))
            tick = max(tick + 1, time.time())
            now = time.time()
            if now >= next_kill and now < begun + seconds / 2:
                next_kill += 120
                sensor.kill(NAMES[to_kill % len(NAMES)])
                to_kill += 1
            if now >= next_reload:
                next_reload += 30
                reloads += 1
                write_config(1 + reloads % 7)
                sensor.process.send_signal(signal.SIGHUP)
            serves = sensor.is_there('serve', now)
            with lock:
                recent = [one for one in fetched if now - 60 < one[2] < now - 2 and sensor.is_there('capture', one[2])]
            if recent and serves and sensor.is_there('derive', now) and sensor.is_there('capture', now):
                number, length, when = choice.choice(recent)
                wanted = hashlib.sha256(BODY(number, length)).hexdigest()
                since = time.time()
                status, text = sensor.get(f'/streamdb/?uri=/{number}-{length}&host=soak.example&as_json=1')
                slowest['search'] = max(slowest['search'], time.time() - since)
                searches += 1
                rows = []
                if status == 200:
                    rows = [row for row in objects(json.loads(text)) if row.get('sha256') == wanted]
                if len(rows) != 1 or rows[0].get('complete') is not True:
                    fault(f'/{number}-{length}, fetched {now - when:.1f} s ago: {len(rows)} objects with its content, status {status}: {text[:300]!r}')
                else:
                    found.append((rows[0]['oid'], number, length, wanted))
            if found and serves:
                oid, number, length, wanted = choice.choice(found)
                since = time.time()
                status, body = sensor.get(f'/streamdb/?oid={oid}')
                slowest['download'] = max(slowest['download'], time.time() - since)
                downloads += 1
                if status == 410:
                    gone += 1
                elif status != 200 or hashlib.sha256(body).hexdigest() != wanted:
                    fault(f'oid {oid} of /{number}-{length}: status {status}, {len(body)} bytes: {body[:200]!r}')
            if now >= next_sample and serves:
                next_sample += 10
                there = sensor.processes()
                sample = [value for name in NAMES for value in (usage(there[name]) if name in there else (0, 0))]
                samples.append((now - begun, *sample, *usage(sensor.process.pid), sensor.lag()))
        if client.wait() != 0:
            fault('the client failed')
        with lock:
            total = sum(length for _, length, _ in fetched)
        time.sleep(3)
        metrics = sensor.get('/metrics')[1].decode()
        asked = time.time()
        sensor.process.send_signal(signal.SIGTERM)
        if sensor.process.wait(timeout=60) != 0:
            fault(f'the sensor ended with {sensor.process.returncode}')
        took = time.time() - asked
        if took > 10:
            fault(f'the sensor took {took:.1f} s to end')
        for name in NAMES:
            wanted = f'streamdb_process_restarts_total{{process="{name}"}} {len(sensor.killed[name])}'
            if wanted not in metrics:
                said = [line for line in metrics.splitlines() if line.startswith('streamdb_process_restarts_total')]
                fault(f'{wanted} is not among {said}')
        buckets = subprocess.run([args.bin, 'buckets', '--data', data, '--dropped', '--json'], capture_output=True, text=True)
        states = [json.loads(line)['state'] for line in buckets.stdout.splitlines()]
        dropped = states.count('dropped')
        if dropped < 20 and args.minutes >= 15:
            fault(f'only {dropped} buckets were dropped')
        verified = subprocess.run([args.bin, 'verify', '--data', data, '--deep'], capture_output=True, text=True)
        if verified.returncode != 0:
            fault(f'verify: {verified.stdout} {verified.stderr}')

        kills = {name: len(times) for name, times in sensor.killed.items()}
        print(f'{seconds / 60:.0f} minutes: {len(fetched)} bodies, {total / 1e6:.0f} MB, {total / seconds / 1e6:.1f} MB/s; '
              f'{dropped} buckets dropped, {len(states) - dropped} there; killed {kills}, {reloads} times read again, '
              f'ended in {took:.1f} s')
        print(f'{searches} searches (slowest {slowest["search"] * 1e3:.0f} ms), {downloads} downloads (slowest '
              f'{slowest["download"] * 1e3:.0f} ms; {gone} of what is gone by now); nobody listened for {sensor.refused * 1e3:.0f} ms at most')
        print(*(line for line in metrics.splitlines() if line.startswith(('streamdb_frames_total', 'streamdb_dropped_frames_total'))), sep='\n')
        columns = [(kind, name) for name in (*NAMES, 'run') for kind in ('memory', 'descriptors')] + [('lag', 'derive')]
        quarters = [[sample for sample in samples if n * seconds / 4 <= sample[0] < (n + 1) * seconds / 4] for n in range(4)]
        for column, (kind, name) in enumerate(columns, 1):
            most = [max((sample[column] for sample in quarter), default=0) for quarter in quarters]
            unit = {'memory': lambda v: f'{v / 1e6:.1f} MB', 'descriptors': str, 'lag': lambda v: f'{v:.1f} s'}[kind]
            print(f'{kind} of {name}, at most, in the quarters of the time: {", ".join(map(unit, most))}')
            room = {'memory': 4e6, 'descriptors': 4, 'lag': 2}[kind]
            if len(quarters[3]) >= 6 and most[3] > max(most[:3]) * 1.1 + room:
                fault(f'{kind} of {name} grew')
        log.seek(0)
        lines = log.read().splitlines()
        told = [line for line in lines if 'read again' not in line]
        print(f'the sensor said ({len(lines) - len(told)} lines that it read the configuration again left out):', *(f'  {line}' for line in told[:60]), sep='\n')
        print('verify said:', verified.stdout.strip())
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for namespace in (near, far, switch):
            subprocess.run(['ip', 'netns', 'del', namespace], stderr=subprocess.DEVNULL)
        subprocess.run(['ip', 'link', 'del', span], stderr=subprocess.DEVNULL)
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
