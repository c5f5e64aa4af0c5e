#!/usr/bin/env python3
"""Writes ../README.md: one row per capture, from the texts here and the files themselves. Fails when one is missing."""

import hashlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
O, G, N, J, C, P = "OpenSSL 3.0.19", "GnuTLS 3.7.9", "nginx 1.22.1", "Java 17 (JSSE)", "curl (OpenSSL)", "Python ssl"
S = "s_server, s_client"
QUIET = "nothing of medium or higher"

# name: what it shows; tools
HANDSHAKES = {
    "tls10-openssl": ("TLS 1.0, ECDHE-RSA, ticket", O), "tls10-static-rsa": ("TLS 1.0, static RSA", O),
    "tls11-openssl": ("TLS 1.1, ECDHE-RSA, ticket", O), "tls11-static-rsa": ("TLS 1.1, static RSA", O),
    **{f"tls12-ecdhe-{k}": (f"TLS 1.2, ECDHE, server key {n}", O) for k, n in (("rsa2048", "RSA-2048 (RSA-PSS signature)"), ("p256", "P-256"), ("p384", "P-384"), ("p521", "P-521"), ("ed25519", "Ed25519"))},
    **{f"tls13-{k}": (f"TLS 1.3, server key {n}", O) for k, n in (("rsa2048", "RSA-2048"), ("p256", "P-256"), ("p384", "P-384"), ("p521", "P-521"), ("ed25519", "Ed25519"))},
    "tls12-ecdhe-rsa-pkcs1": ("TLS 1.2, ECDHE, rsa_pkcs1_sha256 over the key exchange", O),
    "tls12-dhe-rsa": ("TLS 1.2, DHE-RSA with a group of OpenSSL's choice", O), "tls12-dhe-1024": ("TLS 1.2, DHE-RSA, 1024-bit group", O),
    "tls12-static-rsa": ("TLS 1.2, static RSA", O), "tls12-anon-dh": ("TLS 1.2, anonymous DH: no certificate", O),
    "tls12-null-cipher": ("TLS 1.2, NULL-SHA256: Finished and data in clear", O), "tls12-chacha-x448": ("TLS 1.2, ChaCha20-Poly1305, X448", O),
    "tls12-psk": ("TLS 1.2, external PSK, no certificate", O), "tls12-no-sni": ("TLS 1.2 without SNI", O), "tls13-no-sni": ("TLS 1.3 without SNI", O),
    "tls13-hello-retry-request": ("TLS 1.3, HelloRetryRequest (X25519 offered, P-384 wanted)", O),
    "tls13-aes128": ("TLS 1.3, AES-128-GCM", O), "tls13-chacha20": ("TLS 1.3, ChaCha20-Poly1305", O),
    "tls12-alpn-h2": ("TLS 1.2, ALPN h2 chosen", O), "tls13-alpn-h2": ("TLS 1.3, ALPN h2 offered, choice encrypted", O),
    "tls12-extended-offer-chosen-12": ("1.3 offered, server without 1.3 chooses 1.2 (no downgrade sentinel)", O),
    "fail-unknown-ca-tls12": ("client refuses the certificate: alert 48 in clear", O),
    "fail-unknown-ca-tls13-openssl": ("the same in TLS 1.3: OpenSSL sends alert 48 in clear", O),
    "fail-unknown-ca-tls13-gnutls-java": ("the same, encrypted: GnuTLS (record of 19), Java (35)", f"{N}; {G}, {J}"),
    "fail-no-shared-cipher": ("no common cipher: alert 40", O), "fail-protocol-version": ("1.2-only client, 1.3-only server: alert 70", O),
    "fail-no-common-group-tls13": ("no common group: alert 40", O),
    "fallback-scsv-refused": ("TLS_FALLBACK_SCSV to a 1.3 server: alert 86", O), "fallback-scsv-accepted": ("TLS_FALLBACK_SCSV to a 1.2 server: goes on", O),
    "tls12-client-cert": ("TLS 1.2, client certificate (RSA), CertificateVerify", O), "tls12-client-cert-ec": ("TLS 1.2, client certificate (P-256)", O),
    "tls13-client-cert": ("TLS 1.3, client certificate (encrypted)", O),
    "tls12-client-cert-asked-none-given": ("TLS 1.2, CertificateRequest, empty Certificate, goes on", O),
    "tls13-client-cert-asked-none-given": ("TLS 1.3, the same, encrypted", O),
    "fail-client-cert-required-tls12": ("TLS 1.2, empty Certificate where one is required: alert 40", O),
    "fail-client-cert-required-tls13": ("TLS 1.3, the same: alert 116, encrypted", O),
    "fail-expired-tls12": ("expired certificate refused: alert 45, twice", f"{O}; {C}"),
    "fail-name-mismatch-tls12": ("wrong name: curl closes after the handshake, s_client sends alert 42", f"{O}; {C}"),
    "tls12-resume-session-id": ("full handshake, then two resumed by session id", O), "tls12-resume-ticket": ("full handshake, then two resumed by ticket", O),
    "tls12-resume-refused": ("ticket of a server that has forgotten its key: full handshake", O), "tls13-resume-psk": ("TLS 1.3, full handshake, then one with PSK", O),
    "tls13-early-data": ("TLS 1.3, full handshake, then one with early data", O), "tls12-renegotiation": ("TLS 1.2, client renegotiates (encrypted second handshake)", O),
    "tls12-ocsp-staple": ("TLS 1.2, CertificateStatus: good", O), "tls12-ocsp-staple-revoked": ("TLS 1.2, CertificateStatus: revoked, keyCompromise", O),
    "tls12-big-chain": ("Certificate message of more than 16 KB: spans records and segments", O),
    "gnutls-server-client": ("TLS 1.3, 1.2 (ECDHE and DHE), resumption, with a GnuTLS server that asks for a certificate", f"{G}; {C}, {O}"),
    "nginx-curl": ("TLS 1.3 and 1.2, h2 and http/1.1, a call by address", f"{N}; {C}"), "nginx-java": ("TLS 1.3 and 1.2, resumption of each", f"{N}; {J}"),
    "nginx-gnutls-openssl": ("three more client stacks, P-384 server key", f"{N}; {G}, {O}, {P}"), "ipv6": ("TLS over IPv6", f"{N}; {C}, {O}"),
    "vlan-tagged": ("one connection in a VLAN, one in QinQ", f"{N}; {C}; tags by tape.py"),
    "one-sided-client": ("only what the clients sent", f"{N}; {C}; tape.py"), "one-sided-server": ("only what the servers sent", f"{N}; {C}; tape.py"),
    "lossy-server-hello": ("the segment with the ServerHello is missing", f"{N}; {C}; tape.py"),
    "lossy-server-second-segment": ("the second server segment is missing", f"{N}; {C}; tape.py"),
    "lossy-client-hello": ("the ClientHello is missing", f"{N}; {C}; tape.py"),
    "midstream": ("no SYNs; the second connection begins with the ServerHello", f"{N}; {C}; tape.py"),
    "reordered-duplicated": ("server segments of a flight in reverse order, each twice", f"{N}; {C}; tape.py"),
    "small-segments": ("MTU 168: every message in many segments", O), "not-tls": ("plain HTTP on port 443, TLS on port 8080", f"Python http.server; {O}; {C}"),
}

# name: what it shows; tools; what is expected with --roots ca/public-roots.pem
ATTACKS = {
    "demo": ("an ordinary half hour of six hosts and six clients (1.2 and 1.3); at the end 10.2.0.22 is behind mitmproxy", f"{N}; all clients; mitmproxy 11.0.2", "MITM-007 (one alert, with 003, 002, 006) for 10.2.0.22 and six hosts"),
    "mitm-mitmproxy": ("two days of true traffic to six sites, then 10.2.0.22 through mitmproxy", f"{N}; mitmproxy 11.0.2", "MITM-007 with 003, 002, 006: client 10.2.0.22, six hosts; no other client"),
    "mitm-sslsplit": ("the same with three sites and sslsplit; TLS 1.2, then 1.3 (HelloRetryRequest)", f"{N}; sslsplit 0.5.5", "MITM-004 (serial near the genuine one), MITM-002, KEY-001 (one leaf key for three hosts): client 10.2.0.22"),
    "mitm-mitmproxy-lossy": ("mitm-mitmproxy; every third connection lacks a server segment", "copies.py", "MITM-003 and MITM-002 under one MITM-007 or MITM-003 head (the hosts whose certificate is whole): client 10.2.0.22; no other client"),
    "mitm-sslsplit-server-side-only": ("mitm-sslsplit; only what the servers sent: no SNI, hosts are addresses", "copies.py", "MITM-004, MITM-002, KEY-001: client 10.2.0.22, 203.0.113.10 to .12"),
    "mitm-squid": ("the same with two sites and Squid ssl-bump", f"{N}; Squid 5.7", "MITM-003, MITM-004 (equal validity), MITM-002: client 10.2.0.22, www.example.com and login.example.net"),
    "mitm-issuer-impersonation": ("forged leaves whose issuer name and key identifier are the genuine issuer's", f"{N}; forger.py ({P})", "MITM-005, MITM-002: client 10.2.0.22, both hosts"),
    "mitm-cloned-certificate": ("forged leaves with serial, names and validity of the genuine ones, RSA-1024", f"{N}; forger.py ({P})", "MITM-004 (equal serial and validity), MITM-002, CRYP-003: client 10.2.0.22, both hosts"),
    "mitm-no-ca": ("leaves signed with the key of a shop's public certificate, which is no CA's", f"{N}; forger.py ({P})", "MITM-002 with CERT-010: client 10.2.0.22, both hosts"),
    "mitm-product-fortigate": ("leaves of an interception product's CA, as to the names", f"{N}; forger.py ({P})", "MITM-006 and MITM-002: client 10.2.0.22, both hosts"),
    "mitm-rejected": ("forged leaves refused by curl, OpenSSL, GnuTLS and Java in 1.2 and 1.3: clear alerts 48 and 46, encrypted ones of 19 and 35", f"{N}; forger.py ({P})", "MITM-013 and MITM-002 (the 1.2 handshakes show the certificate): www.example.com, clients 10.1.0.11, 10.2.0.21, 10.2.0.22"),
    "mitm-split-view": ("in one hour five clients get the genuine leaf (15 times), 10.2.0.22 alone another (3 times)", f"{N}; forger.py ({P})", "MITM-008 with MITM-002: client 10.2.0.22, www.example.com"),
    "mitm-downgrade": ("supported_versions stripped on the way, seen at the client; alert 47 follows", f"{N}; strip.py", "MITM-009: client 10.2.0.22, www.example.com"),
    "downgrade-server-side": ("the same three handshakes seen at the server: the sentinel is normal here", f"{N}; strip.py", QUIET),
    "mitm-downgrade-both-sides": ("both views in one capture: equal client and server randoms on two connections", f"{N}; strip.py", "MITM-009 on the client's side only; no KEY-005"),
    "captive-portal": ("true traffic, then one (public) certificate of the portal's name for five sites of 10.2.0.22 in 40 s", f"{N}; forger.py ({P})", "MITM-031 (low): client 10.2.0.22; neither MITM-002 nor CERT-004 per host"),
    "key-shared": ("three self-signed certificates of unrelated names with one key; two of one private issuer with one serial number", f"{N}", "KEY-001 (www.example.com, login.example.net, www.example.org), KEY-002 (mail.example.edu, shop.example.co.uk)"),
    "key-ephemeral-reused": ("the same server ECDHE key in eight full handshakes over a day and a half", f"careless.py; {C}", "KEY-003 (medium): 203.0.113.10, www.example.com"),
    "key-weak": ("RSA moduli with a common prime, close primes, exponent 3", f"{N}", "KEY-007 (shared-factor-1 and -2.example.com), CRYP-009 (close-primes.example.com), CRYP-003 low (exponent-3.example.com)"),
    "client-cert-stolen": ("a client certificate used on twelve days from 10.1.0.11 (curl), then within minutes from 10.2.0.22 with GnuTLS", f"{N}; {C}; {G}", "CERT-030, CERT-031, CERT-032: certificate CN=backup-7.example.com, client 10.2.0.22, api.example.com"),
    "rsa-fault": ("the second of three ServerKeyExchange signatures as a fault in RSA-CRT leaves it", f"{N}; {O}; faults.py", "CRYP-005 and CRYP-006: www.example.com, second connection"),
    "damaged-signature": ("the same connection with random bytes as signature", f"{N}; {O}; faults.py", "CRYP-005 only"),
    "cert-faults": ("thirteen hosts, each with one fault: expired, future, other name, SHA-1, MD5, CA leaf, client-only usage, broken signature, self-signed, unknown issuer, RSA-1024, no SCT, 530 days", f"{N}", "CERT-001, 003, 004, 008 (twice), 010 (twice), 007, 006, 005, CRYP-003, CERT-009: for the host of that name (nothing about the missing SCT: its root is not a built-in one); CERT-007 high, in one alert with MITM-005 (its issuer is known and did not sign it); for hosts that policy does not own the others are low or marks on the certificate event"),
}
# Those of misuse.py.
RARE = {
    "mitm-bettercap": ("two days of true traffic to two sites, then 10.2.0.22 through bettercap's https.proxy", f"{N}; bettercap 2.32.0", "MITM-004 (equal serial), MITM-002, CRYP-003 (RSA-1024): client 10.2.0.22, both hosts"),
    "mitm-version-regression": ("52 handshakes of TLS 1.3 on two days, then the host answers the same kind of client with 1.2 (no sentinel) four times", f"{N}; {C}", "MITM-014 (medium): www.example.com, from the third of the four on"),
    "key-server-random-reused": ("two connections with one ServerHello.random", f"careless.py; {C}", "KEY-005: www.example.com, second connection"),
    "key-nonce-reused": ("two ECDSA signatures with one nonce", f"careless.py; {C}", "CRYP-007: www.example.com, second connection"),
    "key-roca": ("an RSA key as the chips of CVE-2017-15361 made them, and a sound one", f"{N}", "CRYP-008: smartcard.example.com, not sound.example.com"),
    "cert-listed": ("six hosts: key in a list of keys, key in a list of badkeys' form, certificate in an SSLBL list, revoked for keyCompromise, revoked for cessationOfOperation, in no list", f"{N}", "with `--policy lists/policy.toml`: KEY-006 (leaked and badkey), CERT-014 (blocked), CERT-013 critical (stolen) and high (withdrawn); nothing for sound.example.com, and without the policy nothing at all"),
}
BENIGN = {
    "renewal-same-key": "new dates, same key and CA", "renewal-new-key": "new key, same CA, after two thirds of the old one's life",
    "ca-change-old-expired": "other public CA after the old certificate had expired (served four days before, still valid then)",
    "ca-change-midlife": "other public CA, 70 days before the old certificate's end", "new-intermediate": "new key under a new intermediate of the same root",
    "six-day-certificates": "six-day certificates, renewed every three days, five times", "rsa-and-ecdsa": "an ECDSA and an RSA certificate under sibling intermediates, by the client's offer",
    "cdn": "three addresses, three certificates of three CAs, in turn", "load-balancer": "two, later three machines with own certificates of one CA",
    "self-signed-device": "a device that makes a new self-signed certificate every three days", "device-renews-once": "a device that makes a new self-signed certificate once",
    "private-pki": "three intranet hosts under a private root (not among --roots), one renewed", "private-ca-change": "an intranet host moves to another private root, unannounced",
    "wildcard-many-hosts": "a wildcard certificate on five hosts and addresses, renewed", "tls13-everyone": "TLS 1.3 only, renewed in between",
    "no-sni": "no SNI, renewed in between", "hello-retry-requests": "three HelloRetryRequests (equal randoms by design)", "client-cert": "a client certificate on twelve days from one place",
}
AT_MOST = {"self-signed-device": "at most one medium (MITM-002, printer-3.corp.example)", "device-renews-once": "at most one medium (MITM-002, nas.corp.example)",
           "private-ca-change": "at most one medium (MITM-002, git.corp.example)", "hello-retry-requests": QUIET + "; no KEY-005"}

HEAD = """# Captures

Our own captures, made by the scripts in `scripts/` from real tools inside network namespaces; licence MIT OR Apache-2.0 like the
rest. Addresses are private or reserved for documentation, hosts are `example` names; no packet of anybody else is in them.

- `scripts/handshakes.py`, `scripts/intercept.py`, `scripts/misuse.py`, `scripts/benign.py` make them (all, or those named), `scripts/copies.py` derives
  damaged copies, `scripts/make_all.sh` does all and this file. They need root and the tools that `scripts/setup.sh` installs. What they make is equivalent, not identical: the committed files count.
- tcpdump records at the clients' own interfaces. `scripts/tape.py` is the only place where recordings are changed: checksums are made
  right (veth leaves them open), and in scenarios that last days each connection is moved in time as a whole. Rows that say more
  (tags, losses, rewritten signatures) name the script that does it.
- `ca/public-roots.pem` are the roots of the "public" sites: give them with `--roots`. `ca/private-roots.pem` are the private ones, which
  belong into a policy's `internal_ca`, if anywhere. Their keys are kept nowhere but in `scripts/.state/`, which is not committed.
- `lists/` has the policy of cert-listed.pcap and the lists that it names.
- The public leaves carry two SCTs of test logs. Sites have server addresses outside the private ranges, intranet hosts inside.
- Clients: 10.1.0.11, 10.1.0.13 curl; 10.1.0.12, 10.2.0.23 GnuTLS; 10.2.0.21 Python; 10.2.0.22 OpenSSL, and the one that is attacked.

Expected outcomes are those of `tlswatch read --roots pcaps/ca/public-roots.pem`, without a policy; rule ids without their `TLSW-`.
"""


def rows(names):
    for name in names:
        path = os.path.join(TOP, name + ".pcap")
        yield name, hashlib.sha256(open(path, "rb").read()).hexdigest()


def main():
    out = [HEAD, "\n## One kind of handshake each (`handshakes.py`)\n\n| file | shows | made with | SHA-256 |\n|---|---|---|---|\n"]
    known = set(HANDSHAKES) | set(ATTACKS) | set(RARE)
    for name, digest in rows(HANDSHAKES):
        shows, tools = HANDSHAKES[name]
        tools = tools.replace(O, f"{O} {S}") if tools == O else tools
        out.append(f"| {name}.pcap | {shows} | {tools} | `{digest}` |\n")
    out.append("\n## Attacks and misuse (`intercept.py`)\n\n| file | shows | made with | expected | SHA-256 |\n|---|---|---|---|---|\n")
    for name, digest in rows(ATTACKS):
        out.append(f"| {name}.pcap | {' | '.join(ATTACKS[name])} | `{digest}` |\n")
    out.append("\n## Rarer misuse (`misuse.py`)\n\n| file | shows | made with | expected | SHA-256 |\n|---|---|---|---|---|\n")
    for name, digest in rows(RARE):
        out.append(f"| {name}.pcap | {' | '.join(RARE[name])} | `{digest}` |\n")
    out.append("\n## Changes without an attack (`benign.py`; nginx 1.22.1, the last two OpenSSL s_server and `intercept.py`)\n\n| file | shows | expected | SHA-256 |\n|---|---|---|---|\n")
    for name, shows in BENIGN.items():
        for suffix, more in (("", ""), ("-lossy", "; every third connection lacks a server segment"), ("-server-side-only", "; only what the servers sent")):
            file = f"benign-{name}{suffix}"
            if suffix and not os.path.exists(os.path.join(TOP, file + ".pcap")):
                continue
            known.add(file)
            digest = next(rows([file]))[1]
            out.append(f"| {file}.pcap | {shows}{more} | {AT_MOST.get(name, QUIET)} | `{digest}` |\n")
    stray = {f[:-5] for f in os.listdir(TOP) if f.endswith(".pcap")} - known
    if stray:
        raise SystemExit(f"captures without a row: {sorted(stray)}")
    with open(os.path.join(TOP, "README.md"), "w") as f:
        f.write("".join(out))


if __name__ == "__main__":
    sys.exit(main())
