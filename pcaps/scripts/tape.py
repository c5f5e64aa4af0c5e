"""Reads, rewrites and writes captures: the one place where what tcpdump recorded is changed.

All rewriting keeps the tools' own bytes, except where a function says otherwise. Checksums are always made right again
(veth leaves them unfinished).
"""

import ipaddress
import struct


class Packet:
    """One Ethernet frame; `time` in microseconds since 1970."""

    def __init__(self, time, data):
        self.time, self.data = time, bytearray(data)

    def copy(self):
        return Packet(self.time, self.data)

    # Offsets of this frame's layers; frames are TCP over IPv4 or IPv6 without extension headers, perhaps with VLAN tags.
    def _ip(self):
        at = 12
        while self.data[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
        return at + 2

    def layers(self):
        ip = self._ip()
        if self.data[ip] >> 4 == 4:
            tcp = ip + (self.data[ip] & 15) * 4
            end = ip + struct.unpack_from(">H", self.data, ip + 2)[0]
        else:
            tcp = ip + 40
            end = tcp + struct.unpack_from(">H", self.data, ip + 4)[0]
        return ip, tcp, tcp + (self.data[tcp + 12] >> 4) * 4, end

    def ends(self):
        ip, tcp, _, _ = self.layers()
        lo, n = (ip + 12, 4) if self.data[ip] >> 4 == 4 else (ip + 8, 16)
        sport, dport = struct.unpack_from(">HH", self.data, tcp)
        a, b = (str(ipaddress.ip_address(bytes(self.data[lo + i * n:lo + i * n + n]))) for i in (0, 1))
        return (a, sport), (b, dport)

    def flow(self):
        return frozenset(self.ends())

    def flags(self):
        return self.data[self.layers()[1] + 13]

    def seq(self):
        return struct.unpack_from(">I", self.data, self.layers()[1] + 4)[0]

    def payload(self):
        _, _, start, end = self.layers()
        return bytes(self.data[start:end])

    def fix(self):
        """Recomputes the IP and TCP checksums."""
        ip, tcp, _, end = self.layers()
        if self.data[ip] >> 4 == 4:
            self.data[ip + 10:ip + 12] = b"\0\0"
            self.data[ip + 10:ip + 12] = checksum(self.data[ip:tcp])
            pseudo = self.data[ip + 12:ip + 20] + struct.pack(">HH", 6, end - tcp)
        else:
            pseudo = self.data[ip + 8:ip + 40] + struct.pack(">II", end - tcp, 6)
        self.data[tcp + 16:tcp + 18] = b"\0\0"
        self.data[tcp + 16:tcp + 18] = checksum(pseudo + self.data[tcp:end])


def checksum(data):
    if len(data) % 2:
        data = data + b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def read(path):
    raw = open(path, "rb").read()
    out, at = [], 24
    while at + 16 <= len(raw):
        sec, usec, incl, _ = struct.unpack_from("<IIII", raw, at)
        out.append(Packet(sec * 1_000_000 + usec, raw[at + 16:at + 16 + incl]))
        at += 16 + incl
    return out


def write(path, packets):
    """Writes a pcap (little-endian, microseconds, Ethernet), in time order, with right checksums."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for p in sorted(packets, key=lambda p: p.time):
            p.fix()
            f.write(struct.pack("<IIII", p.time // 1_000_000, p.time % 1_000_000, len(p.data), len(p.data)))
            f.write(p.data)


def connections(packets):
    """The packets by TCP connection, in order of their first packets."""
    open_, out = {}, []
    for p in packets:
        key = p.flow()
        if p.flags() & 0x12 == 0x02 and key in open_ and open_[key][0].seq() != p.seq():
            del open_[key]
        if key not in open_:
            open_[key] = []
            out.append(open_[key])
        open_[key].append(p)
    return out


def stretch(packets, start, step):
    """Moves connection i to `start + i * step` (seconds since 1970); times inside a connection stay as they were."""
    out = []
    for i, connection in enumerate(connections(packets)):
        delta = int((start + i * step) * 1_000_000) - connection[0].time
        for p in connection:
            q = p.copy()
            q.time += delta
            out.append(q)
    return sorted(out, key=lambda p: p.time)


def client_of(connection):
    """The end that sent the SYN (else: the end with the higher port)."""
    for p in connection:
        if p.flags() & 0x12 == 0x02:
            return p.ends()[0]
    return max(connection[0].ends(), key=lambda end: end[1])


def one_sided(packets, side):
    """Only what clients sent ("client") or what servers sent ("server")."""
    out = []
    for connection in connections(packets):
        client = client_of(connection)
        out += [p for p in connection if (p.ends()[0] == client) == (side == "client")]
    return sorted(out, key=lambda p: p.time)


def without_data(packets, side, number):
    """As if the sensor had lost the `number`th segment with data (from 0) that this side of each connection sent."""
    out = []
    for connection in connections(packets):
        client, seen = client_of(connection), 0
        for p in connection:
            if p.payload() and (p.ends()[0] == client) == (side == "client"):
                seen += 1
                if seen == number + 1:
                    continue
            out.append(p)
    return sorted(out, key=lambda p: p.time)


def tagged(packets, *tags):
    """The same frames inside VLANs: each tag is (EtherType, VLAN id), outermost first."""
    out = []
    for p in packets:
        q = p.copy()
        q.data[12:12] = b"".join(struct.pack(">HH", kind, vid) for kind, vid in tags)
        out.append(q)
    return out


def replace_stream(packets, sender, old, new):
    """Replaces bytes in the stream of `sender` (address, port), wherever segments cut them. Same length only."""
    assert len(old) == len(new)
    segments = sorted((p for p in packets if p.ends()[0] == sender and p.payload()), key=Packet.seq)
    stream, places = bytearray(), []
    expected = None
    for p in segments:
        if expected is not None and p.seq() != expected:
            continue
        start = p.layers()[2]
        for i, byte in enumerate(p.payload()):
            stream.append(byte)
            places.append((p, start + i))
        expected = p.seq() + len(p.payload())
    at = stream.find(old)
    if at < 0:
        raise SystemExit("the bytes to be replaced are not in the stream")
    for i, byte in enumerate(new):
        p, offset = places[at + i]
        p.data[offset] = byte


def stream_of(packets, sender):
    """The bytes `sender` sent (retransmissions left out)."""
    out, expected = bytearray(), None
    for p in sorted((p for p in packets if p.ends()[0] == sender and p.payload()), key=Packet.seq):
        if expected is None or p.seq() == expected:
            out += p.payload()
            expected = p.seq() + len(p.payload())
        elif p.seq() > expected:
            break
    return bytes(out)


def save(name, packets):
    """Writes pcaps/NAME and says what is in it."""
    import os
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), name)
    if not packets:
        raise SystemExit(f"{name}: nothing was captured")
    write(path, packets)
    print(f"{name}: {len(packets)} packets, {len(connections(packets))} connections, {os.path.getsize(path)} bytes", flush=True)
