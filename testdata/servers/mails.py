#!/usr/bin/env python3
"""Mails whose every byte is known, and their ways. Usage:

    mails.py make FOLDER SITE    writes them
    mails.py send FOLDER         gives each to 127.0.0.1:2525
    mails.py fetch FOLDER        takes all from 127.0.0.1:2110, and sees whether they are the same
    mails.py parts MAIL FOLDER   writes its named parts, and by what it goes
"""
import email
import email.policy
import os
import poplib
import smtplib
import socket
import sys

LINES = email.policy.SMTP
# By which command each is sent.
WAYS = {"base64": "DATA", "quoted": "DATA", "dots": "DATA", "chunks": "BDAT", "piped-1": "DATA", "piped-2": "DATA"}


def make(folder, site):
    os.makedirs(folder)
    logo, notes = (open(os.path.join(site, name), "rb").read() for name in ("logo.png", "notes.txt"))
    latin = "Grüße, naïve façade = 100 %\r\n. a dot\r\n" * 20
    head = "From: a@one.example\r\nTo: b@two.example\r\nSubject: {0}\r\nMessage-ID: <{0}@one.example>\r\n" \
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    attached = email.message.EmailMessage(policy=LINES)
    attached.set_content("See there.\n.\n..\n", cte="7bit")
    attached.add_attachment(logo, "image", "png", filename="logo.png", cte="base64")
    attached.add_attachment(notes, "application", "octet-stream", filename="notes für dich.bin", cte="base64")
    quoted = email.message.EmailMessage(policy=LINES)
    quoted.set_content("Text.\n")
    quoted.add_attachment(latin, filename="latin.txt", charset="iso-8859-1", cte="quoted-printable")
    bodies = {
        "base64": attached.as_bytes(), "quoted": quoted.as_bytes(),
        "dots": b"\r\n" + b".\r\n..\r\n.a\r\n" * 50,
        "chunks": attached.as_bytes(), "piped-1": b"\r\nfirst\r\n", "piped-2": b"\r\n.second\r\n",
    }
    for name, body in bodies.items():
        if not body.startswith(b"\r\n"):
            mail = email.message_from_bytes(body, policy=LINES)
            mail.set_boundary(f"={name}=")
            del mail["MIME-Version"]
            body = mail.as_bytes(policy=LINES)
        with open(os.path.join(folder, f"{name}@one.example.eml"), "wb") as file:
            file.write(head.format(name).encode() + body)


def read(folder, name):
    with open(os.path.join(folder, f"{name}@one.example.eml"), "rb") as file:
        return file.read()


def send(folder):
    with smtplib.SMTP("127.0.0.1", 2525, "pc.one.example") as server:
        for name in ("base64", "quoted", "dots"):
            server.sendmail("a@one.example", ["b@two.example", "c@two.example"], read(folder, name))
        server.mail("a@one.example")
        server.rcpt("b@two.example")
        mail = read(folder, "chunks")
        for start in range(0, len(mail), 5000):
            chunk = mail[start:start + 5000]
            last = b" LAST" if start + 5000 >= len(mail) else b""
            server.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
            assert server.getreply()[0] == 250
    # Two at once, each command without waiting for the answer to the one before but where it must (RFC 2920).
    with socket.create_connection(("127.0.0.1", 2525)) as server:
        answers = server.makefile("rb")
        answers.readline()
        server.sendall(b"EHLO pc.one.example\r\n")
        while answers.readline()[3:4] == b"-":
            pass
        begin = b"MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n"
        dotted = {name: read(folder, name).replace(b"\r\n.", b"\r\n..") for name in ("piped-1", "piped-2")}
        server.sendall(begin)
        codes = [answers.readline()[:3] for _ in range(3)]
        server.sendall(dotted["piped-1"] + b".\r\n" + begin)
        codes += [answers.readline()[:3] for _ in range(4)]
        server.sendall(dotted["piped-2"] + b".\r\nQUIT\r\n")
        codes += [answers.readline()[:3] for _ in range(2)]
        assert codes == [b"250", b"250", b"354"] + [b"250", b"250", b"250", b"354"] + [b"250", b"221"], codes


def fetch(folder):
    server = poplib.POP3("127.0.0.1", 2110)
    server.user("ann")
    server.pass_("secret")
    count = server.stat()[0]
    fetched = {b"\r\n".join(server.retr(n)[1]) + b"\r\n" for n in range(1, count + 1)}
    server.top(1, 0)
    server.quit()
    assert fetched == {read(folder, name) for name in WAYS}


def parts(path, folder):
    name = os.path.basename(path).split("@")[0]
    os.makedirs(os.path.join(folder, "named"))
    with open(os.path.join(folder, "ways"), "w") as ways:
        ways.write(f"smtp:{WAYS[name]} pop3:RETR\n")
    with open(path, "rb") as file:
        mail = email.message_from_bytes(file.read(), policy=LINES)
    for part in mail.walk():
        if part.get_filename():
            with open(os.path.join(folder, "named", part.get_filename()), "wb") as file:
                file.write(part.get_payload(decode=True))


{"make": make, "send": send, "fetch": fetch, "parts": parts}[sys.argv[1]](*sys.argv[2:])
