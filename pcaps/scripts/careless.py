#!/usr/bin/env python3
"""careless.py ADDRESS CERTIFICATE KEY WHAT: a TLS 1.2 server of one suite (ECDHE-ECDSA-AES128-GCM-SHA256, P-256) that makes
one thing only once, where it should be new each time: WHAT is `ecdhe` (its ECDHE key), `random` (its ServerHello.random, as
a virtual machine that was restored from a snapshot) or `nonce` (the k of its ECDSA signatures). Just enough of RFC 5246,
5288 and 8422 for clients to finish; no library lets one do this."""

import hashlib
import hmac
import os
import socket
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

address, cert_file, key_file, what = sys.argv[1:5]
KEY = serialization.load_pem_private_key(open(key_file, "rb").read(), None)
CHAIN = [c.public_bytes(serialization.Encoding.DER) for c in x509.load_pem_x509_certificates(open(cert_file, "rb").read())]
FIXED = ec.generate_private_key(ec.SECP256R1())
RANDOM = os.urandom(32)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def sign_with_the_same_nonce(data):
    """ECDSA as in FIPS 186-4 section 6.4, with the private key of FIXED as k."""
    k = FIXED.private_numbers().private_value
    r = FIXED.public_key().public_numbers().x % ORDER
    digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
    s = pow(k, -1, ORDER) * (digest + r * KEY.private_numbers().private_value) % ORDER
    return utils.encode_dss_signature(r, s)


def prf(secret, label, seed, size):
    a, out = label + seed, b""
    while len(out) < size:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + label + seed, "sha256")
    return out[:size]


def vec(n, data):
    return len(data).to_bytes(n, "big") + data


def message(kind, body):
    return bytes([kind]) + vec(3, body)


class Session:
    def __init__(self, s):
        self.s, self.log = s, b""

    def exactly(self, n):
        out = b""
        while len(out) < n:
            more = self.s.recv(n - len(out))
            if not more:
                raise OSError("closed")
            out += more
        return out

    def record(self):
        head = self.exactly(5)
        return head[0], self.exactly(int.from_bytes(head[3:], "big"))

    def send(self, kind, body):
        self.s.sendall(bytes([kind]) + b"\x03\x03" + vec(2, body))

    def seal(self, kind, number, body):
        nonce = os.urandom(8)
        aad = number.to_bytes(8, "big") + bytes([kind]) + b"\x03\x03" + vec(2, body)[:2]
        self.send(kind, nonce + AESGCM(self.keys[1]).encrypt(self.keys[3] + nonce, body, aad))

    def unseal(self, kind, number, body):
        aad = number.to_bytes(8, "big") + bytes([kind]) + b"\x03\x03" + (len(body) - 24).to_bytes(2, "big")
        return AESGCM(self.keys[0]).decrypt(self.keys[2] + body[:8], body[8:], aad)

    def serve(self):
        hello = self.record()[1]
        self.log += hello
        client_random, server_random = hello[6:38], RANDOM if what == "random" else os.urandom(32)
        own = FIXED if what == "ecdhe" else ec.generate_private_key(ec.SECP256R1())
        point = own.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        params = b"\x03\x00\x17" + vec(1, point)
        signed = client_random + server_random + params
        signature = sign_with_the_same_nonce(signed) if what == "nonce" else KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
        flight = (message(2, b"\x03\x03" + server_random + b"\0" + b"\xc0\x2b\0" + vec(2, b"\xff\x01\0\x01\0")),
                  message(11, vec(3, b"".join(vec(3, c) for c in CHAIN))),
                  message(12, params + b"\x04\x03" + vec(2, signature)), message(14, b""))
        for m in flight:
            self.log += m
            self.send(22, m)
        exchange = self.record()[1]
        self.log += exchange
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), exchange[5:])
        master = prf(own.exchange(ec.ECDH(), peer), b"master secret", client_random + server_random, 48)
        block = prf(master, b"key expansion", server_random + client_random, 40)
        self.keys = block[:16], block[16:32], block[32:36], block[36:40]
        self.record()
        finished = self.unseal(22, 0, self.record()[1])
        assert finished[4:] == prf(master, b"client finished", hashlib.sha256(self.log).digest(), 12)
        self.log += finished
        self.send(20, b"\1")
        self.seal(22, 0, message(20, prf(master, b"server finished", hashlib.sha256(self.log).digest(), 12)))
        self.record()
        self.seal(23, 1, b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
        self.seal(21, 2, b"\1\0")


listener = socket.create_server((address, 443))
listener.settimeout(120)
while True:
    client, _ = listener.accept()
    client.settimeout(5)
    with client:
        try:
            Session(client).serve()
        except (OSError, AssertionError, ValueError) as error:
            print(repr(error), flush=True)
