#!/usr/bin/env python3
"""client.py ADDRESS HOST VERSION [COUNT]: Python's ssl module as one more TLS client; accepts every certificate."""

import socket
import ssl
import sys

address, host, version = sys.argv[1:4]
for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 1):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_connection((address, 443), 5) as plain, context.wrap_socket(plain, server_hostname=host or None) as tls:
        tls.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        tls.settimeout(5)
        try:
            while tls.recv(4096):
                pass
        except OSError:
            pass
