#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets from pcaps/: `python3 fuzz/seeds.py` from the top of the repository."""
import pathlib
import struct

TOP = pathlib.Path(__file__).resolve().parent
PCAPS = TOP.parent / "pcaps"
FEW = ["tls12-client-cert.pcap", "tls13-hello-retry-request.pcap", "tls12-resume-ticket.pcap", "tls10-static-rsa.pcap",
       "ipv6.pcap", "vlan-tagged.pcap", "lossy-client-hello.pcap", "not-tls.pcap", "fail-unknown-ca-tls12.pcap",
       "tls12-ocsp-staple.pcap", "tls12-dhe-rsa.pcap", "tls13-early-data.pcap"]


def write(target, name, data):
    folder = TOP / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def frames(path):
    data = path.read_bytes()
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def chunk(data):
    return struct.pack(">H", len(data)) + data


def segments(path):
    """(from the lower port, payload) of every TCP segment over IPv4."""
    for frame in frames(path):
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:]
        ip = ip[:struct.unpack_from(">H", ip, 2)[0]]
        tcp = ip[(ip[0] & 15) * 4:]
        source, destination = struct.unpack_from(">HH", tcp)
        payload = tcp[(tcp[12] >> 4) * 4:]
        if payload:
            yield source < destination, payload


def messages(path):
    """Bodies of the handshake messages in clear, by type."""
    streams = {True: b"", False: b""}
    for side, payload in segments(path):
        streams[side] += payload
    for stream in streams.values():
        joined = b""
        while len(stream) >= 5 and stream[0] == 22:
            length = struct.unpack_from(">H", stream, 3)[0]
            joined += stream[5:5 + length]
            stream = stream[5 + length:]
        while len(joined) >= 4:
            length = int.from_bytes(joined[1:4], "big")
            if len(joined) < 4 + length:
                break
            yield joined[0], joined[4:4 + length]
            joined = joined[4 + length:]


def main():
    certificates = set()
    for name in FEW:
        path = PCAPS / name
        stem = path.stem
        data = path.read_bytes()
        if len(data) < 9000:
            write("pipeline", stem, data)
            write("capture", stem, data[:1500])
        write("decode", stem, b"\x00" + b"".join(chunk(frame[:400]) for frame in list(frames(path))[:8]))
        parts = [bytes([side]) + chunk(payload) for side, payload in segments(path)]
        if parts:
            write("observer", stem, b"".join(parts)[:6000])
        for number, (kind, body) in enumerate(messages(path)):
            if kind == 1:
                write("client_hello", f"{stem}-{number}", body)
            if kind == 11:
                body = body[3:]
                while len(body) > 3:
                    length = int.from_bytes(body[:3], "big")
                    certificates.add(body[3:3 + length])
                    body = body[3 + length:]
    for number, der in enumerate(sorted(certificates)[:12]):
        write("certificate", str(number), der)
    steps = [(at, 200, 0) for at in range(0, 4000, 200)]
    write("tcp_half", "in-order", b"".join(struct.pack(">HBB", *step) for step in steps))
    write("tcp_half", "reversed", b"".join(struct.pack(">HBB", *step) for step in reversed(steps)))
    write("tcp_half", "holes", b"".join(struct.pack(">HBB", *step) for step in steps if step[0] % 600))
    write("tcp_half", "overlaps", b"".join(struct.pack(">HBB", at, 255, at // 1000) for at in range(0, 4000, 100)))


main()
