"""Rewrites the RSA signature in a captured TLS 1.2 ServerKeyExchange (rsa_pkcs1_sha256)."""

import hashlib
import os

import tape

DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def messages(stream):
    """The handshake messages in clear of one side: (type, body)."""
    body, at = b"", 0
    while at + 5 <= len(stream) and stream[at] == 22:
        size = int.from_bytes(stream[at + 3:at + 5], "big")
        body += stream[at + 5:at + 5 + size]
        at += 5 + size
    out, at = [], 0
    while at + 4 <= len(body):
        size = int.from_bytes(body[at + 1:at + 4], "big")
        out.append((body[at], body[at + 4:at + 4 + size]))
        at += 4 + size
    return out


def _rewrite(packets, number, make):
    packets = [p.copy() for p in packets]
    connection = tape.connections(packets)[number]
    client = tape.client_of(connection)
    server = next(end for end in connection[0].ends() if end != client)
    hello = dict(messages(tape.stream_of(connection, client)))[1]
    answer = dict(reversed(messages(tape.stream_of(connection, server))))
    exchange = answer[12]
    point = 4 + exchange[3]
    params, rest = exchange[:point], exchange[point:]
    assert rest[:2] == b"\x04\x01", "not rsa_pkcs1_sha256"
    signature = rest[4:]
    signed = hello[2:34] + answer[2][2:34] + params
    tape.replace_stream(connection, server, signature, make(signature, signed))
    return packets


def crt(packets, key, number):
    """As if one bit of the half signature modulo p had flipped."""
    numbers = key.private_numbers()
    p, q, n = numbers.p, numbers.q, numbers.public_numbers.n

    def make(signature, signed):
        size = len(signature)
        t = DIGEST_INFO + hashlib.sha256(signed).digest()
        em = int.from_bytes(b"\0\1" + b"\xff" * (size - 3 - len(t)) + b"\0" + t, "big")
        sp, sq = pow(em, numbers.dmp1, p), pow(em, numbers.dmq1, q)
        assert (sq + q * ((sp - sq) * pow(q, -1, p) % p)) % n == int.from_bytes(signature, "big")
        sp ^= 1 << 100
        return ((sq + q * ((sp - sq) * pow(q, -1, p) % p)) % n).to_bytes(size, "big")
    return _rewrite(packets, number, make)


def noise(packets, number):
    """Bytes that never were a signature."""
    return _rewrite(packets, number, lambda signature, _: b"\x5a" + os.urandom(len(signature) - 1))
