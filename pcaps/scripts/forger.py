#!/usr/bin/env python3
"""forger.py tls12|tls13 ADDRESS=ALIAS=CERTIFICATE=KEY...: a minimal interceptor. Ends TLS (that version at most) with the
given certificate and passes on to ALIAS:443."""

import socket
import ssl
import sys
import threading


def serve(client, alias, context):
    try:
        with context.wrap_socket(client, server_side=True) as near:
            far_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            far_context.check_hostname, far_context.verify_mode = False, ssl.CERT_NONE
            with far_context.wrap_socket(socket.create_connection((alias, 443), 5), server_hostname=near.name) as far:
                far.sendall(near.recv(16384))
                while data := far.recv(16384):
                    near.sendall(data)
    except (OSError, AttributeError):
        pass
    finally:
        client.close()


def listen(address, alias, cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(cert, key)

    def remember(connection, name, _):
        connection.name = name
    context.sni_callback = remember
    if "tls12" in sys.argv:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    s = socket.create_server((address, 443))
    while True:
        client, _ = s.accept()
        client.settimeout(8)
        threading.Thread(target=serve, args=(client, alias, context), daemon=True).start()


for spec in sys.argv[1:]:
    if "=" in spec:
        threading.Thread(target=listen, args=spec.split("="), daemon=True).start()
threading.Event().wait(300)
