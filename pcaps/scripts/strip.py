#!/usr/bin/env python3
"""strip.py ADDRESS=ALIAS: passes on to ALIAS:443, and makes "TLS 1.3" in the ClientHello's supported_versions a version nobody speaks."""

import socket
import sys
import threading


def strip(hello):
    at = hello.find(b"\x00\x2b\x00")
    if at < 0:
        return hello
    end = at + 4 + int.from_bytes(hello[at + 2:at + 4], "big")
    return hello[:at] + hello[at:end].replace(b"\x03\x04", b"\x0a\x0a") + hello[end:]


def pipe(a, b, change=None):
    try:
        while data := a.recv(65536):
            b.sendall(change(data) if change else data)
            change = None
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


address, alias = sys.argv[1].split("=")
listener = socket.create_server((address, 443))
listener.settimeout(120)
while True:
    near, _ = listener.accept()
    far = socket.create_connection((alias, 443), 5)
    threading.Thread(target=pipe, args=(near, far, strip), daemon=True).start()
    threading.Thread(target=pipe, args=(far, near), daemon=True).start()
