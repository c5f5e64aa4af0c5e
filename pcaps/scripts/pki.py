"""Certificates for the captures: two "public" test roots (ca/public-roots.pem, to be given by --roots), private roots,
and leaves that look like those of today's web: SAN, AIA, DV policy, and two SCTs signed by test logs.

Keys live only in .state/ beside the scripts (not committed) and in the scenario's temporary folder. The public roots are
made once and kept in .state/, so that all captures made there chain to the same bundle; a later run elsewhere adds its
own roots to the bundle.
"""

import datetime
import functools
import hashlib
import os
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

HERE = os.path.dirname(os.path.abspath(__file__))
STATE = os.path.join(HERE, ".state")
CA_DIR = os.path.join(os.path.dirname(HERE), "ca")
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def new_key(kind="p256"):
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[kind]())


def name(cn=None, o=None, c=None, ou=None, l=None):
    parts = [(NameOID.COUNTRY_NAME, c), (NameOID.LOCALITY_NAME, l), (NameOID.ORGANIZATION_NAME, o),
             (NameOID.ORGANIZATIONAL_UNIT_NAME, ou), (NameOID.COMMON_NAME, cn)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def cert_pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def spki_sha256(cert):
    der = cert.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


class Ca:
    """A CA key with its certificate and the certificates above it (`chain`: this CA first, without the root)."""

    def __init__(self, key, cert, chain, sct=False):
        self.key, self.cert, self.chain, self.sct = key, cert, chain, sct

    def intermediate(self, subject, kind="p256", days=1000, **kw):
        key = new_key(kind)
        cert = _build(subject, self.cert.subject, key, self, NOW - 300 * DAY, NOW + days * DAY, depth=0, **kw)
        return Ca(key, cert, [cert] + self.chain, self.sct)

    def leaf(self, names, key="p256", **kw):
        """A server certificate; returns `Leaf`. Named arguments: see `issue`."""
        return issue(self, names, key, **kw)


class Leaf:
    def __init__(self, key, cert, chain):
        self.key, self.cert, self.chain = key, cert, chain

    def save(self, lab, stem, chain=True):
        """Writes STEM.pem (leaf and, if asked, chain) and STEM.key into the lab's folder; returns both paths."""
        paths = lab.path(stem + ".pem"), lab.path(stem + ".key")
        with open(paths[0], "wb") as f:
            f.write(cert_pem(self.cert) + (b"".join(cert_pem(c) for c in self.chain) if chain else b""))
        with open(paths[1], "wb") as f:
            f.write(key_pem(self.key))
        os.chmod(paths[1], 0o644)
        return paths


def root(subject, kind="p256", before=1500, after=3000, sct=False):
    key = new_key(kind)
    cert = _build(subject, subject, key, None, NOW - before * DAY, NOW + after * DAY, depth=None)
    return Ca(key, cert, [], sct)


def issue(ca, names, key="p256", before=30.0, after=60.0, subject=None, serial=None, eku=("server",), sct=None, ca_flag=False,
          not_before=None, not_after=None, digest=None, san=True, o=None, spoil=False, pad=0, aki=None):
    """Signs a leaf. `before`/`after`: days from now; `key`: a kind or a key to keep; `spoil`: flip a bit of the signature;
    `pad`: bytes of ballast in an extension of its own; `aki`: the certificate whose authority key identifier is copied."""
    key = new_key(key) if isinstance(key, str) else key
    subject = subject or name(names[0], o)
    begin = not_before or NOW - datetime.timedelta(days=before)
    end = not_after or NOW + datetime.timedelta(days=after) - datetime.timedelta(seconds=1)
    make = functools.partial(_build, subject, ca.cert.subject if ca else subject, key, ca, begin, end, names=names if san else (),
                             serial=serial or x509.random_serial_number(), eku=eku, leaf_ca=ca_flag, digest=digest,
                             public=bool(ca and ca.sct), pad=pad, aki=aki)
    cert = make()
    if ca and (ca.sct if sct is None else sct):
        cert = make(scts=_scts(cert, ca))
    if spoil:
        der = bytearray(cert.public_bytes(serialization.Encoding.DER))
        der[-3] ^= 1
        cert = x509.load_der_x509_certificate(bytes(der))
    return Leaf(key, cert, list(ca.chain) if ca else [])


def with_old_digest(leaf, ca, which):
    """The same certificate, signed again by an RSA CA with "sha1" or "md5" (both OIDs are as long as SHA-256's)."""
    rsa_oid = bytes.fromhex("06092a864886f70d0101")
    tbs = leaf.cert.tbs_certificate_bytes.replace(rsa_oid + b"\x0b", rsa_oid + {"sha1": b"\x05", "md5": b"\x04"}[which])
    signature = ca.key.sign(tbs, padding.PKCS1v15(), {"sha1": hashes.SHA1(), "md5": hashes.MD5()}[which])
    rest = leaf.cert.public_bytes(serialization.Encoding.DER)
    body = tbs + b"\x30\x0d" + rsa_oid + {"sha1": b"\x05", "md5": b"\x04"}[which] + b"\x05\0" + b"\x03" + b"\x82" + struct.pack(">H", len(signature) + 1) + b"\0" + signature
    assert rest[:2] == b"\x30\x82" and len(rest) == len(body) + 4
    return Leaf(leaf.key, x509.load_der_x509_certificate(rest[:4] + body), leaf.chain)


def rsa_from(p, q, e=65537):
    """An RSA key of these primes, however unwise."""
    d = pow(e, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)).private_key()


def prime(bits, start=None):
    """The next prime from `start` (default: random, with its two top bits set)."""
    import random
    n = (start or random.SystemRandom().getrandbits(bits) | 3 << (bits - 2)) | 1
    while any(n % s == 0 for s in (3, 5, 7, 11, 13, 17, 19, 23)) or any(pow(b, n - 1, n) != 1 for b in (2, 3, 5)):
        n += 2
    return n


def _build(subject, issuer, key, ca, begin, end, names=(), serial=None, eku=(), leaf_ca=False, digest=None,
           public=False, scts=None, pad=0, depth=-1, aki=None):
    is_ca = depth != -1
    b = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
         .serial_number(serial or x509.random_serial_number()).not_valid_before(begin).not_valid_after(end))
    signer = ca.key if ca else key
    rsa_key = isinstance(key, rsa.RSAPrivateKey)
    usage = dict(digital_signature=not is_ca, content_commitment=False, key_encipherment=rsa_key and not is_ca, data_encipherment=False,
                 key_agreement=False, key_cert_sign=is_ca or leaf_ca, crl_sign=is_ca, encipher_only=False, decipher_only=False)
    b = b.add_extension(x509.KeyUsage(**usage), True)
    b = b.add_extension(x509.BasicConstraints(is_ca or leaf_ca, depth if is_ca else None), True)
    if eku:
        oids = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
        b = b.add_extension(x509.ExtendedKeyUsage([oids[e] for e in eku]), False)
    b = b.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    if aki:
        b = b.add_extension(aki.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value, False)
    elif ca:
        b = b.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), False)
    if names:
        import ipaddress
        general = []
        for n in names:
            try:
                general.append(x509.IPAddress(ipaddress.ip_address(n)))
            except ValueError:
                general.append(x509.DNSName(n))
        b = b.add_extension(x509.SubjectAlternativeName(general), False)
    if public and not is_ca:
        b = b.add_extension(x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("2.23.140.1.2.1"), None)]), False)
        url = x509.UniformResourceIdentifier("http://i.pki.example.net/ca.cer")
        b = b.add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)]), False)
    if scts:
        b = b.add_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), scts), False)
    if pad:
        blob = b"\x04\x82" + struct.pack(">H", pad) + os.urandom(pad)
        b = b.add_extension(x509.UnrecognizedExtension(ObjectIdentifier("2.25.329800735698586629295641978511506172918"), blob), False)
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return b.sign(signer, None)
    return b.sign(signer, digest or hashes.SHA256())


@functools.lru_cache
def _logs():
    return [new_key("p256"), new_key("p256")]


def _scts(cert, ca):
    """RFC 6962 SCT list for a certificate without one: its TBS is then the precertificate's without poison."""
    issuer = hashlib.sha256(ca.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).digest()
    tbs = cert.tbs_certificate_bytes
    stamp = int(cert.not_valid_before_utc.timestamp() * 1000) + 3_600_000
    out = b""
    for log in _logs():
        log_id = hashlib.sha256(log.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).digest()
        entry = struct.pack(">BBQH", 0, 0, stamp, 1) + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        sig = log.sign(entry, ec.ECDSA(hashes.SHA256()))
        sct = b"\0" + log_id + struct.pack(">QH", stamp, 0) + b"\x04\x03" + struct.pack(">H", len(sig)) + sig
        out += struct.pack(">H", len(sct)) + sct
    out = struct.pack(">H", len(out)) + out
    return b"\x04" + (bytes([len(out)]) if len(out) < 128 else b"\x82" + struct.pack(">H", len(out)) if len(out) > 255 else b"\x81" + bytes([len(out)])) + out


def _kept(stem, make):
    """A CA kept in .state/ between scripts."""
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    key_file, cert_file = (os.path.join(STATE, stem + e) for e in (".key", ".pem"))
    if not os.path.exists(cert_file):
        ca = make()
        with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(key_pem(ca.key))
        with open(cert_file, "wb") as f:
            f.write(cert_pem(ca.cert))
    key = serialization.load_pem_private_key(open(key_file, "rb").read(), None)
    return key, x509.load_pem_x509_certificate(open(cert_file, "rb").read())


def _publish(cert, bundle):
    os.makedirs(CA_DIR, exist_ok=True)
    path = os.path.join(CA_DIR, bundle)
    have = open(path, "rb").read() if os.path.exists(path) else b""
    if cert_pem(cert) not in have:
        with open(path, "ab") as f:
            f.write(cert_pem(cert))


@functools.lru_cache
def public(which="a", generation=1):
    """The "public" issuing CAs: "a" (ECDSA) and "b" (RSA) of one operator, "c" of another."""
    operators = {"a": ("Meadow Trust Services", "p256"), "b": ("Meadow Trust Services", "rsa2048"), "c": ("Harbour Certificates Ltd", "p384")}
    o, kind = operators[which]
    key, cert = _kept(f"public-{which}", lambda: root(name(f"{o.split()[0]} Test Root {which.upper()}1", o, "CH"), kind))
    _publish(cert, "public-roots.pem")
    top = Ca(key, cert, [], sct=True)
    key, cert = _kept(f"public-{which}-{generation}", lambda: top.intermediate(
        name(f"{o.split()[0]} TLS {which.upper()}{generation}", o, "CH"), kind))
    return Ca(key, cert, [cert], sct=True)


@functools.lru_cache
def private(cn="Example Corp Internal CA", o="Example Corp"):
    """A company's own root, which signs leaves itself; written to ca/private-roots.pem, which --roots is *not* given."""
    stem = "private-" + "".join(ch if ch.isalnum() else "-" for ch in cn.lower())
    key, cert = _kept(stem, lambda: root(name(cn, o)))
    _publish(cert, "private-roots.pem")
    return Ca(key, cert, [cert])
