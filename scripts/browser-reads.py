#!/usr/bin/env python3
"""What a browser makes of odd HTTP responses, and whether StreamDB makes the same of them.

    browser-reads.py list  --streamdb BIN --captures 'FOLDER/*.pcap' --output LIST [--browser chromium]
    browser-reads.py check --streamdb BIN --captures 'FOLDER/*.pcap' LIST

`list` takes the server's bytes out of each capture, answers with exactly those bytes when a real browser asks, and writes
down whether the browser reads the EICAR test string out of them: as a document in a frame, or by fetch(). `check` says of each line
whether the object that StreamDB extracts holds that string.

The captures are those of http-evader in OISF/suricata-verify; the file names are theirs, with `suricata-verify__` before them.
`list` needs Chromium and may need to be root: the browser reads responses without a status line (HTTP/0.9) from port 80 alone.
"""

import argparse
import base64
import glob
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
HOST, ADDRESS = "evader.example.com", "127.80.80.80"

PAGE = r"""<!doctype html><meta charset=utf-8><title>reads</title><script>
const EICAR = %s, N = %d;
const has = text => text.includes(EICAR);
const within = (ms, promise, late) => Promise.race([promise, new Promise(done => setTimeout(() => done(late), ms))]);
// The bytes as text, as far as they come.
async function fetched(url) {
  let text = '', end = 'whole';
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 4000);
  try {
    const response = await fetch(url, {cache: 'no-store', redirect: 'manual', signal: stop.signal});
    const reader = response.body ? response.body.getReader() : null;
    while (reader) {
      const {done, value} = await reader.read();
      if (done) break;
      text += String.fromCharCode(...value);
    }
  } catch (error) { end = 'broken'; }
  return [has(text) ? end : 'no', end == 'whole' ? btoa(text) : ''];
}
function framed(url) {
  return new Promise(done => {
    const frame = document.createElement('iframe');
    const look = () => {
      let text = '';
      try { text = frame.contentDocument.documentElement.textContent; } catch (error) { }
      frame.remove();
      done(has(text) ? 'yes' : 'no');
    };
    frame.onload = () => setTimeout(look, 50);
    frame.src = url;
    document.body.append(frame);
    setTimeout(look, 3000);
  });
}
onload = async () => {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < N) {
      const i = next++;
      results[i] = [...await within(5000, fetched(`/fetch/${i}`), ['no', '']), await framed(`/frame/${i}`)];
    }
  };
  await Promise.all(Array.from({length: 3}, worker));
  await fetch('/results', {method: 'POST', body: JSON.stringify(results)});
};
</script><body></body>"""


def run(arguments):
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout


def conversations(streamdb, capture):
    """Per connection with bytes from the server: (request target, oid of the server's stream, its bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        run([streamdb, "ingest", "--data", data, "--no-derive", capture])
        streams = [json.loads(line) for line in run([streamdb, "streams", "--data", data, "--json"]).splitlines()]
        targets = {}
        for stream in streams:
            if stream["direction"] == "s":
                head = run([streamdb, "get", "--data", data, "--raw", stream["oid"]]).split(b"\r\n")[0].split(b" ")
                targets[stream["oid"]] = head[1].decode("ascii", "replace") if len(head) > 1 else "-"
        for stream in streams:
            if stream["direction"] == "c":
                raw = run([streamdb, "get", "--data", data, "--raw", stream["oid"]])
                bodies = []
                for index in range(16):
                    oid = stream["oid"].rsplit("-", 1)[0] + f"-{index}"
                    got = subprocess.run([streamdb, "get", "--data", data, oid], capture_output=True, check=False)
                    if got.returncode != 0 and not got.stdout:
                        break
                    bodies.append(got.stdout)
                yield targets.get(stream["peer_oid"], "-"), raw, bodies


class Server(threading.Thread):
    """Answers with the bytes of a response, whatever they are, and closes."""

    def __init__(self, responses):
        super().__init__(daemon=True)
        self.responses, self.results, self.done = responses, None, threading.Event()
        self.listener = socket.create_server((ADDRESS, 80), backlog=64)

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                some = connection.recv(65536)
                if not some:
                    return
                request += some
            head, _, body = request.partition(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            if path == "/results":
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                while len(body) < length:
                    body += connection.recv(65536)
                self.results = json.loads(body)
                reply = b"HTTP/1.1 204 OK\r\nConnection: close\r\n\r\n"
            elif path.startswith(("/fetch/", "/frame/")):
                reply = self.responses[int(path.rsplit("/", 1)[1])]
            elif path == "/":
                page = (PAGE % (json.dumps(EICAR.decode()), len(self.responses))).encode()
                reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + page
            else:
                reply = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            connection.sendall(reply)
            connection.shutdown(socket.SHUT_WR)
            # Until the browser has read it all: closing at once could reset the connection.
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass
        if self.results is not None:
            self.done.set()


def browse(browser, responses):
    server = Server(responses)
    server.start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable", "--remote-debugging-port=0",
             f"--host-resolver-rules=MAP {HOST} {ADDRESS}", f"--user-data-dir={profile}", f"http://{HOST}/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not server.done.wait(1800):
                sys.exit("browser-reads: the browser did not report within 30 minutes")
        finally:
            process.terminate()
            process.wait(20)
    return server.results


def make_list(options):
    rows, responses = [], []
    for capture in sorted(glob.glob(options.captures)):
        for target, raw, _ in conversations(options.streamdb, capture):
            rows.append((os.path.basename(capture), target))
            responses.append(raw)
    version = run([options.browser, "--version"]).decode().strip()
    results = browse(options.browser, responses)
    with open(options.output, "w", encoding="ascii") as out:
        print("# What a browser reads out of the responses of http-evader (OISF/suricata-verify), made by scripts/browser-reads.py", file=out)
        print(f"# with {version}. fetch: whole, or broken off after the string; frame: rendered as a document.", file=out)
        print("# sha256: of the whole body as fetched, where it holds the string; eicar: whether the browser reads the string.", file=out)
        print("capture\ttarget\tfetch\tframe\tsha256\teicar", file=out)
        for (capture, target), (fetched, body, framed) in zip(rows, results):
            digest = hashlib.sha256(base64.b64decode(body)).hexdigest() if fetched == "whole" else "-"
            reads = "yes" if fetched == "whole" or framed == "yes" else "no"
            print(capture, target, fetched, framed, digest, reads, sep="\t", file=out)


def check(options):
    with open(options.list, encoding="ascii") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines if not line.startswith(("#", "capture\t"))]
    by_capture = {}
    for capture, target, _, _, digest, reads in rows:
        by_capture.setdefault(capture, []).append((target, digest, reads))
    counts = {"both read it": 0, "only the browser": 0, "only StreamDB": 0, "neither": 0, "the very same body": 0}
    missed, differing = [], []
    for capture in sorted(glob.glob(options.captures)):
        name = os.path.basename(capture)
        for (target, digest, reads), (_, _, bodies) in zip(by_capture.get(name, []), conversations(options.streamdb, capture)):
            ours = any(EICAR in body for body in bodies)
            if reads == "yes":
                counts["both read it" if ours else "only the browser"] += 1
            else:
                counts["only StreamDB" if ours else "neither"] += 1
            same = any(hashlib.sha256(body).hexdigest() == digest for body in bodies)
            counts["the very same body"] += same
            if reads == "yes" and ours and not same:
                differing.append(f"{name}\t{target}")
            if reads == "yes" and not ours:
                missed.append(f"{name}\t{target}")
            if options.verbose and reads == "no":
                print(f"{'only StreamDB' if ours else 'neither'}\t{name}\t{target}")
    for row in missed:
        print(f"only the browser\t{row}")
    for row in differing:
        print(f"another body\t{row}")
    print(", ".join(f"{what}: {n}" for what, n in counts.items()))
    if missed or not counts["both read it"]:
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, action in [("list", make_list), ("check", check)]:
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--streamdb", required=True)
        command.add_argument("--captures", required=True)
        if name == "list":
            command.add_argument("--output", required=True)
            command.add_argument("--browser", default="chromium")
        else:
            command.add_argument("list")
            command.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    options.action(options)


main()
