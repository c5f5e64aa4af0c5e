#!/usr/bin/env python3
"""connect.py PROXY_PORT ADDRESS=ALIAS...: what comes to ADDRESS:443 goes through `CONNECT ALIAS:443` of a local proxy."""

import socket
import sys
import threading


def pipe(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, target):
    try:
        proxy = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
        proxy.sendall(f"CONNECT {target}:443 HTTP/1.1\r\nHost: {target}:443\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += proxy.recv(1)
        threading.Thread(target=pipe, args=(proxy, client), daemon=True).start()
        pipe(client, proxy)
    except (OSError, IndexError):
        client.close()


def listen(address, target):
    s = socket.create_server((address, 443))
    while True:
        client, _ = s.accept()
        client.settimeout(15)
        threading.Thread(target=serve, args=(client, target), daemon=True).start()


for pair in sys.argv[2:]:
    threading.Thread(target=listen, args=pair.split("="), daemon=True).start()
threading.Event().wait(300)
