#!/usr/bin/env python3
"""A server of one file in codings that no server at hand applies, and clients that curl cannot play. Usage:

    answer.py serve ADDRESS FILE    /raw and /stacked answer with the file in `deflate` without zlib's wrapping, and in `deflate, gzip`
    answer.py pipeline FROM-PORT ADDRESS HOST URI...    asks for all before reading; the answers' bytes go to standard output
    answer.py socket ADDRESS HOST LINE...    sends lines over a WebSocket and waits for each echo; prints the local port

`socket` needs python3-websockets.
"""
import asyncio
import gzip
import http.server
import socket
import sys
import zlib


def serve(address, path):
    data = open(path, "rb").read()
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    answers = {
        "/raw": ("deflate", raw.compress(data) + raw.flush()),
        "/stacked": ("deflate, gzip", gzip.compress(zlib.compress(data, 9), 9, mtime=0)),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            coding, body = answers[self.path]
            self.send_response(200)
            for name, value in (("Content-Type", "text/plain"), ("Content-Encoding", coding), ("Content-Length", len(body))):
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer((address, 80), Handler).serve_forever()


def pipeline(port, address, host, *uris):
    with socket.create_connection((address, 80), source_address=("", int(port))) as server:
        heads = ["GET %s HTTP/1.1\r\nHost: %s\r\n" % (uri, host) for uri in uris]
        server.sendall(("\r\n".join(heads) + "Connection: close\r\n\r\n").encode())
        while answer := server.recv(65536):
            sys.stdout.buffer.write(answer)


async def speak(address, host, lines):
    import websockets  # of python3-websockets
    async with websockets.connect("ws://%s/echo" % host, host=address, port=80, compression=None) as server:
        for line in lines:
            await server.send(line)
            assert await server.recv() == line
        print(server.local_address[1])


if __name__ == "__main__":
    roles = {"serve": serve, "pipeline": pipeline,
             "socket": lambda address, host, *lines: asyncio.run(speak(address, host, lines))}
    roles[sys.argv[1]](*sys.argv[2:])
