#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets from pcaps/: `python3 fuzz/seeds.py` from the top of the repository."""
import gzip
import lzma
import pathlib
import re
import shutil
import struct
import subprocess

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


def checked(header):
    """An IPv4 header with its checksum."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return header[:10] + struct.pack(">H", ~total & 0xffff) + header[12:]


def ipv4(protocol, payload, fragment=0):
    return checked(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0,
                               b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02")) + payload


def ipv6(protocol, payload):
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + bytes(15) + b"\x01" + bytes(15) + b"\x02" + payload


def udp(port, payload):
    return struct.pack(">HHHH", 4000, port, 8 + len(payload), 0) + payload


def ethernet(kind, payload):
    return bytes(12) + struct.pack(">H", kind) + payload


def wrapped():
    """Name, place of the link type in LINK_TYPES of src/fuzz.rs, frames: every link type and tunnel once."""
    tcp = struct.pack(">HHIIBBHHH", 40000, 443, 1, 1, 0x50, 0x18, 1024, 0, 0) + bytes.fromhex("16030100050100000100")
    four, six = ipv4(6, tcp), ipv6(6, tcp)
    inner = ethernet(0x800, four)
    yield "raw", 1, [four, six]
    yield "sll", 2, [struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x800) + four]
    yield "sll2", 3, [struct.pack(">HHIHBB8s", 0x800, 0, 1, 1, 0, 6, bytes(8)) + four]
    yield "null", 4, [struct.pack("<I", 2) + four, struct.pack(">I", 24) + six, struct.pack("<I", 30) + six]
    yield "ppp", 5, [b"\xff\x03\x00\x21" + four, b"\x00\x57" + six, b"\x21" + four]
    data = bytes.fromhex("08010000") + bytes(20) + bytes.fromhex("aaaa030000000800")
    yield "radiotap", 6, [bytes.fromhex("0000080000000000") + data + four,
                          bytes.fromhex("0000080000000000") + b"\x88" + data[1:24] + bytes(2) + data[24:] + four]
    yield "nflog", 7, [bytes.fromhex("02000000") + struct.pack("<HH", 4 + len(four), 9) + four]
    yield "wlan", 8, [data + four]
    yield "ipv6", 9, [six, ipv6(0, b"\x06\x00" + bytes(6) + tcp), ipv6(43, b"\x06\x00\x00\x00" + bytes(4) + tcp)]
    yield "ipv4", 10, [four]
    yield "loop", 11, [struct.pack(">I", 2) + four]
    yield "ppp-hdlc", 12, [b"\xff\x03\x00\x21" + four, b"\x0f\x00\x08\x00" + four]
    yield "ppp-ether", 13, [b"\x11\x00\x00\x01" + struct.pack(">H", 2 + len(four)) + b"\x00\x21" + four]
    yield "vlan", 0, [ethernet(0x8100, struct.pack(">HH", 5, 0x800) + four),
                      ethernet(0x88a8, struct.pack(">HHHH", 5, 0x8100, 6, 0x86dd) + six)]
    yield "mpls", 0, [ethernet(0x8847, bytes.fromhex("0000100000002140") + four)]
    yield "pppoe", 0, [ethernet(0x8864, b"\x11\x00\x00\x01" + struct.pack(">H", 2 + len(four)) + b"\x00\x21" + four)]
    gre = [b"\x00\x00\x08\x00" + four, b"\xb0\x00\x65\x58" + bytes(12) + inner,
           b"\x00\x00\x88\xbe" + inner, b"\x10\x00\x88\xbe" + bytes(4) + bytes.fromhex("1001000000000000") + inner,
           b"\x10\x00\x22\xeb" + bytes(4) + bytes.fromhex("200100000000000000000000") + inner]
    yield "gre", 1, [ipv4(47, one) for one in gre]
    yield "vxlan", 1, [ipv4(17, udp(4789, bytes.fromhex("0800000000000700") + inner))]
    yield "geneve", 1, [ipv4(17, udp(6081, bytes.fromhex("0100655800000700") + bytes.fromhex("0102030000000000")[:4] + inner)),
                        ipv6(17, udp(6081, bytes.fromhex("0000655800000700") + inner))]
    yield "gtp", 1, [ipv4(17, udp(2152, b"\x30\xff" + struct.pack(">HI", len(four), 9) + four)),
                     ipv4(17, udp(2152, b"\x34\xff" + struct.pack(">HI", 8 + len(four), 9) + bytes.fromhex("0000008501000000") + four))]
    yield "ip-in-ip", 1, [ipv4(4, four), ipv4(41, six), ipv6(4, four), ipv6(41, six), ipv4(4, ipv4(4, ipv4(4, four)))]
    yield "teredo", 1, [ipv4(17, udp(3544, six)), ipv4(17, udp(3544, bytes.fromhex("00000102030405060708") + six))]
    big = tcp + bytes(range(200))
    yield "fragments", 1, [ipv4(6, big[104:], 13), ipv4(6, big[:104], 0x2000),
                           ipv6(44, struct.pack(">BBHI", 6, 0, 1, 9) + big[:104]),
                           ipv6(44, struct.pack(">BBHI", 6, 0, 104, 9) + big[104:])]
    yield "fragments-overlap", 1, [ipv4(6, big[:104], 0x2000), ipv4(6, big[80:160], 0x2000 | 10), ipv4(6, big[96:], 12)]


def block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


def captures(pcap):
    """The same packets in every format of capture files."""
    packets, at = [], 24
    while at + 16 <= len(pcap):
        head = struct.unpack_from("<IIII", pcap, at)
        packets.append((head, pcap[at + 16:at + 16 + head[2]]))
        at += 16 + head[2]
    packets = packets[:5]
    yield "pcap", pcap[:1500]
    yield "pcap-nanoseconds", struct.pack("<I", 0xa1b23c4d) + pcap[4:1500]
    swapped = struct.pack(">IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    yield "pcap-swapped", swapped + b"".join(struct.pack(">IIII", *head) + data for head, data in packets)
    modified = struct.pack("<IHHIIII", 0xa1b2cd34, 2, 4, 0, 0, 65535, 1)
    yield "pcap-modified", modified + b"".join(struct.pack("<IIII", *head) + bytes(8) + data for head, data in packets)
    section = block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0))
    enhanced = b"".join(block(6, struct.pack("<IIIII", 0, 0, head[0], len(data), head[3]) + data) for head, data in packets)
    obsolete = b"".join(block(2, struct.pack("<HHIIII", 0, 0, 0, head[0], len(data), head[3]) + data) for head, data in packets[:2])
    simple = b"".join(block(3, struct.pack("<I", head[3]) + data) for head, data in packets[:2])
    secrets = block(10, struct.pack("<II", 0x544c534b, 20) + b"CLIENT_RANDOM 00 00\n")
    pcapng = section + interface + enhanced
    yield "pcapng", pcapng
    yield "pcapng-all-blocks", section + interface + secrets + simple + obsolete + section + interface + interface + enhanced
    turned = struct.pack(">IIIHHqI", 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0, -1, 28)
    yield "pcapng-swapped", turned + struct.pack(">IIHHII", 1, 20, 1, 0, 0, 20)
    small = pcap[:700]
    yield "gz", gzip.compress(small, mtime=0)
    yield "gz-members", gzip.compress(small[:100], mtime=0) + gzip.compress(small[100:], mtime=0)
    yield "xz", lzma.compress(small)
    for tool in ("zstd", "lz4"):
        if shutil.which(tool):
            yield tool, subprocess.run([tool, "-c", "-q"], input=small, stdout=subprocess.PIPE, check=True).stdout


def server_messages(path):
    """Handshake messages in clear of both sides in order of sides: (from the server, type, body)."""
    streams = {True: b"", False: b""}
    for from_low, payload in segments(path):
        streams[from_low] += payload
    for from_server in (True, False):
        # The server has the lower port.
        stream, joined = streams[from_server], b""
        while len(stream) >= 5 and stream[0] == 22:
            length = struct.unpack_from(">H", stream, 3)[0]
            joined += stream[5:5 + length]
            stream = stream[5 + length:]
        while len(joined) >= 4 and len(joined) >= 4 + int.from_bytes(joined[1:4], "big"):
            length = int.from_bytes(joined[1:4], "big")
            yield from_server, joined[0], joined[4:4 + length]
            joined = joined[4 + length:]


def of_messages():
    """Seeds of `message` and `conversation`."""
    parsers = {2: 0, 11: 3, 12: 7, 13: 8, 15: 8}
    for name, suite in [("tls12-client-cert", 0), ("tls12-dhe-rsa", 2), ("tls12-ocsp-staple", 0), ("tls12-psk", 5),
                        ("tls12-big-chain", 0), ("tls12-ecdhe-ed25519", 1), ("tls10-openssl", 0)]:
        version = 1 if name.startswith("tls10") else 3
        told = []
        for from_server, kind, body in server_messages(PCAPS / f"{name}.pcap"):
            if kind in parsers and len(body) < 4000:
                write("message", f"{name}-{kind}", bytes([parsers[kind], version, suite]) + body)
            if kind not in (1, 2) and len(body) < 4000:
                told.append(bytes([kind | (0 if from_server else 0x80)]) + chunk(body))
        if told:
            write("conversation", name, bytes([version, suite]) + b"".join(told))
    empty = b"\x00" + (7).to_bytes(3, "big") + (2).to_bytes(3, "big") + b"\x30\x00" + bytes(2)
    write("message", "tls13-certificates", bytes([4, 4, 10]) + empty)
    import zlib
    for number, packed in [(1, zlib.compress(empty))]:
        head = struct.pack(">H", number) + len(empty).to_bytes(3, "big") + len(packed).to_bytes(3, "big")
        write("message", f"compressed-{number}", bytes([5, 4, 10]) + head + packed)
    if shutil.which("zstd"):
        packed = subprocess.run(["zstd", "-c", "-q"], input=empty, stdout=subprocess.PIPE, check=True).stdout
        head = struct.pack(">H", 3) + len(empty).to_bytes(3, "big") + len(packed).to_bytes(3, "big")
        write("message", "compressed-3", bytes([5, 4, 10]) + head + packed)
    # An uncompressed meta-block of brotli (RFC 7932 section 9.2).
    packed = b"\x21" + struct.pack("<H", (len(empty) - 1) << 3 >> 3)[:1] + b"\x00" + empty + b"\x03"
    write("message", "compressed-2", bytes([5, 4, 10]) + struct.pack(">H", 2) + len(empty).to_bytes(3, "big")
          + len(packed).to_bytes(3, "big") + packed)
    write("message", "export-rsa", bytes([7, 0, 4]) + chunk(bytes([0x80]) * 64) + chunk(b"\x01\x00\x01") + chunk(bytes(64)))
    write("message", "ssl2-server-hello", bytes([2, 0, 0]) + bytes.fromhex("0000010002000200030010") + b"\x30\x00\x01\x00\x80" + bytes(16))


def of_texts():
    """Seeds of the files that the owner gives."""
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", (TOP.parent / "docs/POLICY.md").read_text(), re.S)):
        write("policy", f"docs-{number}", text.encode())
    sha1, sha256 = "4da1421400000000000000000000000000000082", "ab" * 32
    write("lists", "sslbl", f"# Listingdate,SHA1,Listingreason\r\n2024-09-02 06:17:52,{sha1},C&C\r\n".encode())
    write("lists", "hashes", f"{sha1} stolen\nsha256/{sha256},why\n".encode())
    write("lists", "serials", b"00:0a:1b CN=Corp CA, O=Corp\n0a O=*\\2c x\n")
    write("lists", "indicators", f"certificate {sha1} one\nkey sha256:{sha256}\nja3 {sha1[:32]}\n"
          "ja4 t13d1516h2_8daaf6152771_02713d6af862\nname *.bad.example\nserial 00:0A\naddress 192.0.2.0/24\n".encode())
    for number, word in enumerate(["2024-06-01T12:00:00.5Z", "1717243200.25", "*.example.co.uk:443", "[2001:db8::1]:8443", "10.0.0.0/8",
                                   "CN=R10,O=Let's Encrypt,C=US", "sha256/" + "A" * 43 + "=", "a\x1b[2Jb\u202ec"]):
        write("words", str(number), word.encode())
    write("words", "event", b'{"event":{"dataset":"tlswatch.alert","severity":73},"message":"m","rule":{"id":"x","name":"y"},"tlswatch":'
          b'{"alert":{"id":"0a","rules":["x"],"evidence":{"verdict":"v","score":5,"proofs":[{"id":"A","text":"t","points":3}]}}}}')


def of_keys(certificates):
    """Seeds of keys, chains and lists of roots."""
    pem = b"".join(ssl_pem(der) for der in certificates[:2])
    write("roots", "pem", pem)
    write("roots", "der", certificates[0])
    for number in range(3):
        write("chain", f"{number}", b"".join(chunk(der) for der in certificates[number:number + 3]))
    small = [35, 77, 221, 3, 1, 9, 35]
    write("factors", "small", b"".join(chunk(bytes([one])) for one in small))
    write("factors", "large", b"".join(chunk((one * (1 << 521) - one).to_bytes(70, "big")) for one in (3, 5, 7, 11)))
    parts = [bytes([0xc5]) * 128, b"\x01\x00\x01", b"", b"\x05\x00", bytes([0x11]) * 128]
    for kind in range(5):
        write("signature", f"{kind}", bytes([kind, 2 + kind, kind]) + b"".join(chunk(part) for part in parts) + b"message")
    point = b"\x04" + bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                                    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    write("signature", "p256", bytes([2, 5, 0]) + b"".join(chunk(part) for part in (b"", b"", point, b"", bytes.fromhex("3006020101020101"))))


def ssl_pem(der):
    import ssl
    return ssl.DER_cert_to_PEM_cert(der).encode()


def main():
    certificates = set()
    of_messages()
    of_texts()
    for name, link, packets in wrapped():
        write("decode", name, bytes([link]) + b"".join(chunk(packet) for packet in packets))
    for name, data in captures((PCAPS / "tls12-dhe-rsa.pcap").read_bytes()):
        write("capture", name, data)
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
    of_keys(sorted(certificates))
    for number, der in enumerate(sorted(certificates)[:12]):
        write("certificate", str(number), der)
    steps = [(at, 200, 0) for at in range(0, 4000, 200)]
    write("tcp_half", "in-order", b"".join(struct.pack(">HBB", *step) for step in steps))
    write("tcp_half", "reversed", b"".join(struct.pack(">HBB", *step) for step in reversed(steps)))
    write("tcp_half", "holes", b"".join(struct.pack(">HBB", *step) for step in steps if step[0] % 600))
    write("tcp_half", "overlaps", b"".join(struct.pack(">HBB", at, 255, at // 1000) for at in range(0, 4000, 100)))


main()
