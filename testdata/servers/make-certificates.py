#!/usr/bin/env python3
"""Makes a key, an authority and a certificate of mx.two.example that it signs. Usage: make-certificates.py FOLDER"""
import os
import subprocess
import sys

os.makedirs(sys.argv[1])
os.chdir(sys.argv[1])


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)


new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]
openssl("req", "-x509", *new, "-keyout", "authority.key", "-out", "authority.pem", "-subj", "/CN=StreamDB test authority")
openssl("req", "-x509", *new, "-keyout", "key.pem", "-out", "leaf.pem", "-subj", "/O=Two/CN=mx.two.example",
        "-addext", "subjectAltName=DNS:mx.two.example", "-CA", "authority.pem", "-CAkey", "authority.key")
for name in ("authority", "leaf"):
    openssl("x509", "-in", f"{name}.pem", "-outform", "der", "-out", f"{name}.der")
with open("chain.pem", "w") as chain:
    for name in ("leaf", "authority"):
        chain.write(open(f"{name}.pem").read())
