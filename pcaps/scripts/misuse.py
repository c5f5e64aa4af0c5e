#!/usr/bin/env python3
"""Makes the captures of what is rare: `misuse.py [NAME...]`. Servers that are careless with random numbers, keys that anybody
can work out, a host that speaks an older version than it did, certificates that lists name, and bettercap.

Needs nginx, curl, openssl and bettercap. The lists of cert-listed.pcap are written to ../lists/, where its policy is."""

import datetime
import hashlib
import os
import secrets

import pki
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from intercept import SIX, TWO, before, genuine, prefix_python
from lab import alias
from world import RECIPES, World, main, recipe

RECIPES.clear()  # those of intercept.py

WWW = "www.example.com"
LISTS = os.path.join(os.path.dirname(pki.HERE), "lists")
ROUND = ("c1", "c5", "c3", "c4")


def careless(what, days):
    with World({WWW: SIX[WWW]}) as w:
        pem, key = pki.public("a").leaf([WWW]).save(w.lab, "leaf")
        w.lab.start("srv", *prefix_python("careless.py", SIX[WWW], pem, key, what), port=443)
        for n in days:
            w.day(n, [lambda c=c: w.visit(c, WWW, "--tls-max", "1.2", software="curl") for c in ROUND[:2]])
        return w.packets


@recipe("key-server-random-reused.pcap")
def server_random():
    """A server that sends one ServerHello.random to everybody."""
    return careless("random", (-1,))


@recipe("key-nonce-reused.pcap")
def nonce():
    """A server that signs with one k: its private key is two signatures away."""
    return careless("nonce", (-1,))


def chip_prime(bits):
    """A prime as the chips of CVE-2017-15361 made them: k * M + (65537 ** a mod M), M the product of the first primes
    (Nemec et al. 2017, section 2)."""
    small = [n for n in range(2, 710) if all(n % d for d in range(2, int(n ** 0.5) + 1))][:{512: 71, 1024: 126}[bits]]
    product = 1
    for n in small:
        product *= n
    while True:
        room = (1 << bits) // product
        k = room - 1 - secrets.randbelow(room // 4)
        p = k * product + pow(65537, secrets.randbelow(product), product)
        if p.bit_length() == bits and all(pow(b, p - 1, p) == 1 for b in (2, 3, 5)):
            return p


@recipe("key-roca.pcap")
def roca():
    """A leaf whose key a faulty chip made, and one beside it whose key has the same size and is sound."""
    hosts = {"smartcard.example.com": "203.0.113.80", "sound.example.com": "203.0.113.81"}
    keys = [pki.rsa_from(chip_prime(1024), chip_prime(1024)), "rsa2048"]
    with World(hosts) as w:
        w.serve({host: pki.public("a").leaf([host], key) for host, key in zip(hosts, keys)})
        w.day(-1, [(c, h) for h in hosts for c in ("c1", "c3")], step=60)
        return w.packets


@recipe("mitm-version-regression.pcap")
def regression():
    """Two days of TLS 1.3 with one kind of client, then the host answers the same clients with 1.2 (no sentinel: the server
    is set up so)."""
    with World({WWW: SIX[WWW]}, protocols="TLSv1.2 TLSv1.3") as w:
        leaf = pki.public("a").leaf([WWW])
        w.serve({WWW: leaf})
        visit = lambda c: (lambda: w.visit(c, WWW, software="curl"))
        for n in (-2, -1):
            w.day(n, [visit(ROUND[i % 4]) for i in range(26)], step=600)
        w.protocols = "TLSv1.2"
        w.serve({WWW: leaf})
        w.day(0, [visit(c) for c in ROUND], step=60)
        return w.packets


def write_list(name, data):
    os.makedirs(LISTS, exist_ok=True)
    with open(os.path.join(LISTS, name), "wb") as f:
        f.write(data)


@recipe("cert-listed.pcap")
def listed():
    """Hosts whose certificates or keys stand in lists of each kind, and one of the same issuer that stands in none."""
    names = ["leaked", "badkey", "blocked", "stolen", "withdrawn", "sound"]
    hosts = {n: f"{n}.example.com" for n in names}
    ca = pki.public("a")
    leaves = {n: ca.leaf([hosts[n]], "rsa2048" if n == "badkey" else "p256") for n in names}
    write_list("keys.txt", f"# SHA-256 of SubjectPublicKeyInfo\n{pki.spki_sha256(leaves['leaked'].cert)} found in a firmware image\n".encode())
    modulus = leaves["badkey"].key.public_key().public_numbers().n
    entries = [hashlib.sha256(modulus.to_bytes(256, "big")).digest()[:15] + b"\x07"] + [secrets.token_bytes(15) + b"\x01" for _ in range(63)]
    write_list("badkeys.dat", b"".join(sorted(entries)))
    der = leaves["blocked"].cert.public_bytes(serialization.Encoding.DER)
    write_list("sslbl.csv", f"# Listingdate,SHA1,Listingreason\n2024-09-02 06:17:52,{hashlib.sha1(der).hexdigest()},Example C&C\n".encode())
    day = datetime.timedelta(days=1)
    crl = x509.CertificateRevocationListBuilder().issuer_name(ca.cert.subject).last_update(pki.NOW - 3 * day).next_update(pki.NOW + 27 * day)
    crl = crl.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), False)
    for n, reason in (("stolen", x509.ReasonFlags.key_compromise), ("withdrawn", x509.ReasonFlags.cessation_of_operation)):
        entry = x509.RevokedCertificateBuilder().serial_number(leaves[n].cert.serial_number).revocation_date(pki.NOW - 5 * day)
        crl = crl.add_revoked_certificate(entry.add_extension(x509.CRLReason(reason), False).build())
    write_list("public-a.crl", crl.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    with World({hosts[n]: f"203.0.113.{90 + i}" for i, n in enumerate(names)}) as w:
        w.serve({hosts[n]: leaves[n] for n in names})
        w.day(-1, [(c, h) for h in hosts.values() for c in ("c1", "c3")], step=60)
        return w.packets


@recipe("mitm-bettercap.pcap")
def bettercap():
    """https.proxy of bettercap: leaves cloned from the genuine ones under a CA of an honest CA's name."""
    with World(TWO, mitm=True) as w:
        before(w, genuine(TWO), days=(-2, -1, -0.5))
        # It finds the genuine server by name: a hosts file for this namespace alone.
        etc = f"/etc/netns/{w.lab.tag}-mitm"
        os.makedirs(etc)
        try:
            with open(os.path.join(etc, "hosts"), "w") as f:
                f.write("127.0.0.1 localhost\n" + "".join(f"{alias(a)} {host}\n" for host, a in TWO.items()))
            files = {name: w.lab.path(f"bettercap-{name}") for name in ("ca.pem", "ca.key")}
            ca = pki.root(pki.name("Go Daddy Secure Certificate Authority - G2", "GoDaddy.com, Inc."), "rsa2048")
            for name, data in (("ca.pem", pki.cert_pem(ca.cert)), ("ca.key", ca.key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))):
                with open(files[name], "wb") as f:
                    f.write(data)
            orders = [f"set https.proxy.certificate {files['ca.pem']}", f"set https.proxy.key {files['ca.key']}", "set https.proxy.address 0.0.0.0",
                      "set https.proxy.port 443", "set https.proxy.redirect false", "https.proxy on"]
            w.lab.start("mitm", "bettercap", "-iface", "eth0", "-no-history", "-no-colors", "-eval", "; ".join(orders), port=443,
                        env={"HOME": w.lab.dir})
            w.lab.intercept("c4")
            w.day(0, [("c1", h) for h in TWO] + [("c4", h, "-tls1_2") for h in TWO] * 2 + [("c3", h) for h in TWO], step=30)
        finally:
            os.remove(os.path.join(etc, "hosts"))
            os.rmdir(etc)
        return w.packets


if __name__ == "__main__":
    main()
