#!/usr/bin/env python3
"""What curl cannot be asked for. Usage: talk.py echo | big SERVER | wrap SERVER FILE"""
import socket
import struct
import sys


def echo():
    """Sends each datagram back (RFC 862)."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", 7))
    while True:
        s.sendto(*s.recvfrom(65535))


def big(server):
    """Datagrams of 4,000 bytes, each in three fragments: byte n of datagram d is (n + d) mod 251."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.5)
    s.connect((server, 7))
    for d in range(6):
        s.send(bytes((n + d) % 251 for n in range(4000)))
        try:
            s.recv(65535)
        except TimeoutError:
            pass


def wrap(server, path):
    """Posts a file on a connection whose sequence numbers pass 2^32 within the body; prints the client's port."""
    repair, queue, sequence, send_queue = 19, 20, 21, 2  # Linux, netinet/tcp.h
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, repair, 1)
    s.setsockopt(socket.IPPROTO_TCP, queue, send_queue)
    s.setsockopt(socket.IPPROTO_TCP, sequence, struct.pack("=I", 2**32 - 3000))
    s.setsockopt(socket.IPPROTO_TCP, repair, 0)
    s.connect((server, 80))
    body = open(path, "rb").read()
    s.sendall(b"POST /form?step=wrap HTTP/1.1\r\nHost: downloads.example\r\nContent-Type: application/octet-stream\r\n"
              b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    answer = b""
    while piece := s.recv(65536):
        answer += piece
    assert answer.endswith(b"thank you\n"), answer
    print(s.getsockname()[1])


globals()[sys.argv[1]](*sys.argv[2:])
