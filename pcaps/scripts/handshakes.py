#!/usr/bin/env python3
"""Makes the captures that show one kind of handshake each: `handshakes.py [NAME...]` (all, when none is named).

One client (c1, 10.1.0.11) and one server (203.0.113.10 or 2001:db8:f::10) in namespaces; OpenSSL, GnuTLS, nginx, curl and
Java do the talking. Recipes are functions; a decorator gives the capture's name.
"""

import os
import subprocess
import sys

import pki
import tape
from lab import Lab

SERVER, SERVER6, HOST = "203.0.113.10", "2001:db8:f::10", "www.example.org"
RECIPES = {}


def recipe(name):
    def register(f):
        RECIPES[name] = f
        return f
    return register


class Bench:
    """A lab with certificates of every key type ready as PEM files."""

    def __init__(self, lab):
        self.lab, self.path = lab, lab.path
        self.ca = pki.private()
        with open(self.path("ca.pem"), "wb") as f:
            f.write(pki.cert_pem(self.ca.cert))
        with open(self.path("other-ca.pem"), "wb") as f:
            f.write(pki.cert_pem(pki.root(pki.name("Some Other CA", "Other")).cert))
        for kind in ("rsa2048", "p256", "p384", "p521", "ed25519"):
            self.ca.leaf([HOST, "example.org"], kind).save(lab, kind)
        pki.issue(self.ca, ["client-7"], "rsa2048", eku=("client",), subject=pki.name("client-7", "Example Corp")).save(lab, "client")
        pki.issue(self.ca, ["client-8"], "p256", eku=("client",), subject=pki.name("client-8", "Example Corp")).save(lab, "client-ec")

    def s_server(self, *args, cert="rsa2048"):
        return self.lab.start("srv", "openssl", "s_server", "-accept", "443", "-cert", self.path(f"{cert}.pem"), "-cert_chain",
                              self.path("ca.pem"), "-key", self.path(f"{cert}.key"), "-rev", *args, port=443)

    def s_client(self, *args, sni=HOST, hold=0.15, lines=("hello\n",), address=SERVER, env=None):
        name = ["-servername", sni] if sni else ["-noservername"]
        return self.lab.run("c1", "openssl", "s_client", "-connect", f"{address}:443", *name, *args, stdin=list(lines), hold=hold, env=env)

    def curl(self, *args, host=HOST, address=SERVER):
        return self.lab.run("c1", "curl", "-sS", "--cacert", self.path("ca.pem"), "--resolve", f"{host}:443:{address}", *args, f"https://{host}/")

    def gnutls(self, *args, host=HOST, ca="ca.pem"):
        return self.lab.run("c1", "gnutls-cli", "--x509cafile", self.path(ca), "--sni-hostname", host, "--verify-hostname", host,
                            "-p", "443", *args, SERVER, stdin="", timeout=8)

    def nginx(self, extra="", cert="rsa2048", listen="443 ssl http2"):
        conf = self.path("nginx.conf")
        with open(conf, "w") as f:
            f.write(f"""user root; pid {self.path('nginx.pid')}; error_log {self.path('nginx-error.log')}; worker_processes 1; daemon off;
                events {{ worker_connections 64; }}
                http {{ access_log off; client_body_temp_path {self.path('t1')}; proxy_temp_path {self.path('t2')};
                  fastcgi_temp_path {self.path('t3')}; uwsgi_temp_path {self.path('t4')}; scgi_temp_path {self.path('t5')};
                  server {{ listen {listen}; listen [::]:{listen}; ssl_certificate {self.path(cert + '.pem')};
                    ssl_certificate_key {self.path(cert + '.key')}; {extra}
                    location / {{ return 200 "hello\\n"; }} }} }}""")
        return self.lab.start("srv", "nginx", "-c", conf, "-e", self.path("nginx-error.log"), port=443)

    @staticmethod
    def java_class():
        build = os.path.join(pki.STATE, "java")
        os.makedirs(build, exist_ok=True)
        if not os.path.exists(os.path.join(build, "Client.class")):
            subprocess.run(["javac", "-d", build, os.path.join(pki.HERE, "Client.java")], check=True, timeout=60)
        return build

    def java(self, *args):
        build = self.java_class()
        store = self.path("trust.p12")
        if not os.path.exists(store):
            subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", self.path("ca.pem"), "-keystore", store,
                            "-storepass", "changeit", "-storetype", "PKCS12"], check=True, capture_output=True, timeout=60)
        return self.lab.run("c1", "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", build, "Client", *args,
                            env={"TRUST": store}, timeout=40)


def simple(name, server, client=(), cert="rsa2048", sni=HOST, what=None):
    """A recipe of one OpenSSL server and one OpenSSL client."""
    def f(b):
        b.s_server(*server, cert=cert)
        with b.lab.capture() as tap:
            b.s_client(*client, sni=sni)
        return tap.packets
    f.__doc__ = what
    RECIPES[name] = f


OLD = ("-cipher", "ALL:@SECLEVEL=0")
for version in ("tls1", "tls1_1"):
    simple(f"{version.replace('tls1', 'tls10') if version == 'tls1' else 'tls11'}-openssl.pcap", OLD, (f"-{version}", *OLD))
    simple(f"{'tls10' if version == 'tls1' else 'tls11'}-static-rsa.pcap", OLD, (f"-{version}", "-cipher", "AES128-SHA:@SECLEVEL=0"))
for kind in ("rsa2048", "p256", "p384", "p521", "ed25519"):
    simple(f"tls12-ecdhe-{kind}.pcap", (), ("-tls1_2",), cert=kind)
    simple(f"tls13-{kind}.pcap", (), ("-tls1_3",), cert=kind)
simple("tls12-ecdhe-rsa-pkcs1.pcap", (), ("-tls1_2", "-sigalgs", "RSA+SHA256"))
simple("tls12-dhe-rsa.pcap", (), ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"))
simple("tls12-dhe-1024.pcap", ("-dhparam", "DH1024", *OLD), ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"))
simple("tls12-static-rsa.pcap", (), ("-tls1_2", "-cipher", "AES128-SHA"))
simple("tls12-anon-dh.pcap", ("-nocert", *OLD), ("-tls1_2", "-cipher", "ADH-AES128-SHA:@SECLEVEL=0"))
simple("tls12-null-cipher.pcap", ("-cipher", "ALL:eNULL:@SECLEVEL=0"), ("-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"))
simple("tls12-chacha-x448.pcap", (), ("-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305", "-groups", "X448"))
simple("tls12-psk.pcap", ("-psk", "00112233445566778899aabbccddeeff", "-nocert"),
       ("-tls1_2", "-psk", "00112233445566778899aabbccddeeff", "-cipher", "PSK-AES128-GCM-SHA256"))
simple("tls12-no-sni.pcap", (), ("-tls1_2",), sni=None)
simple("tls13-no-sni.pcap", (), ("-tls1_3",), sni=None)
simple("tls13-hello-retry-request.pcap", ("-groups", "P-384"), ("-tls1_3", "-groups", "X25519:P-384"))
simple("tls13-aes128.pcap", (), ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"))
simple("tls13-chacha20.pcap", (), ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"))
simple("tls12-alpn-h2.pcap", ("-alpn", "h2,http/1.1"), ("-tls1_2", "-alpn", "h2,http/1.1"))
simple("tls13-alpn-h2.pcap", ("-alpn", "h2,http/1.1"), ("-tls1_3", "-alpn", "h2,http/1.1"))
simple("tls12-extended-offer-chosen-12.pcap", ("-no_tls1_3",), ())
simple("fail-unknown-ca-tls12.pcap", (), ("-tls1_2", "-CAfile", "OTHER", "-verify_return_error"))
simple("fail-unknown-ca-tls13-openssl.pcap", (), ("-tls1_3", "-CAfile", "OTHER", "-verify_return_error"))
simple("fail-no-shared-cipher.pcap", ("-no_tls1_3", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"), ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"))
simple("fail-protocol-version.pcap", ("-tls1_3",), ("-tls1_2",))
simple("fail-no-common-group-tls13.pcap", ("-groups", "P-521"), ("-tls1_3", "-groups", "X25519"))
simple("fallback-scsv-refused.pcap", (), ("-no_tls1_3", "-fallback_scsv"))
simple("fallback-scsv-accepted.pcap", ("-no_tls1_3",), ("-no_tls1_3", "-fallback_scsv"))
simple("tls12-client-cert.pcap", ("-Verify", "3", "-CAfile", "CA"), ("-tls1_2", "-cert", "client.pem", "-key", "client.key"))
simple("tls12-client-cert-ec.pcap", ("-Verify", "3", "-CAfile", "CA"), ("-tls1_2", "-cert", "client-ec.pem", "-key", "client-ec.key"), cert="p256")
simple("tls13-client-cert.pcap", ("-Verify", "3", "-CAfile", "CA"), ("-tls1_3", "-cert", "client.pem", "-key", "client.key"))
simple("tls12-client-cert-asked-none-given.pcap", ("-verify", "3", "-CAfile", "CA"), ("-tls1_2",))
simple("tls13-client-cert-asked-none-given.pcap", ("-verify", "3", "-CAfile", "CA"), ("-tls1_3",))
simple("fail-client-cert-required-tls12.pcap", ("-Verify", "3", "-verify_return_error", "-CAfile", "CA"), ("-tls1_2",))
simple("fail-client-cert-required-tls13.pcap", ("-Verify", "3", "-verify_return_error", "-CAfile", "CA"), ("-tls1_3",))


@recipe("fail-expired-tls12.pcap")
def expired(b):
    b.ca.leaf([HOST], before=90, after=-3).save(b.lab, "expired")
    b.s_server(cert="expired")
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", "-CAfile", b.path("ca.pem"), "-verify_return_error")
        b.curl("--tls-max", "1.2")
    return tap.packets


@recipe("fail-name-mismatch-tls12.pcap")
def mismatch(b):
    b.s_server()
    with b.lab.capture() as tap:
        b.curl("--tls-max", "1.2", host="mail.example.net")
        b.s_client("-tls1_2", "-CAfile", b.path("ca.pem"), "-verify_return_error", "-verify_hostname", "mail.example.net", sni="mail.example.net")
    return tap.packets


@recipe("fail-unknown-ca-tls13-gnutls-java.pcap")
def rejected_13(b):
    b.nginx("ssl_protocols TLSv1.2 TLSv1.3;")
    with b.lab.capture() as tap:
        b.gnutls(ca="other-ca.pem")
        b.java(SERVER, HOST, "TLSv1.3", "distrust", "1")
    return tap.packets


@recipe("tls12-resume-session-id.pcap")
def session_id(b):
    b.s_server("-no_ticket", "-no_tls1_3")
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", "-no_ticket", "-sess_out", b.path("sess"))
        for _ in range(2):
            b.s_client("-tls1_2", "-no_ticket", "-sess_in", b.path("sess"))
    return tap.packets


@recipe("tls12-resume-ticket.pcap")
def ticket(b):
    b.s_server("-no_tls1_3")
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", "-sess_out", b.path("sess"))
        for _ in range(2):
            b.s_client("-tls1_2", "-sess_in", b.path("sess"))
    return tap.packets


@recipe("tls12-resume-refused.pcap")
def refused(b):
    first = b.s_server("-no_tls1_3")
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", "-sess_out", b.path("sess"))
        b.lab.stop(first)
        b.s_server("-no_tls1_3")
        b.s_client("-tls1_2", "-sess_in", b.path("sess"))
    return tap.packets


@recipe("tls13-resume-psk.pcap")
def psk(b):
    b.s_server()
    with b.lab.capture() as tap:
        b.s_client("-tls1_3", "-sess_out", b.path("sess"))
        b.s_client("-tls1_3", "-sess_in", b.path("sess"))
    return tap.packets


@recipe("tls13-early-data.pcap")
def early(b):
    # s_server cannot serve pages and take early data at the same time.
    b.lab.start("srv", "openssl", "s_server", "-accept", "443", "-cert", b.path("p256.pem"), "-key", b.path("p256.key"),
                "-early_data", "-tls1_3", port=443)
    with open(b.path("early"), "w") as f:
        f.write("GET /early HTTP/1.0\r\n\r\n")
    with b.lab.capture() as tap:
        b.s_client("-tls1_3", "-sess_out", b.path("sess"))
        b.s_client("-tls1_3", "-sess_in", b.path("sess"), "-early_data", b.path("early"))
    return tap.packets


@recipe("tls12-renegotiation.pcap")
def renegotiation(b):
    b.lab.start("srv", "openssl", "s_server", "-accept", "443", "-cert", b.path("rsa2048.pem"), "-key", b.path("rsa2048.key"),
                "-client_renegotiation", "-no_tls1_3", port=443)
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", lines=("R\n", "after\n", "Q\n"), hold=0.3)
    return tap.packets


@recipe("tls12-ocsp-staple.pcap")
def staple(b):
    _ocsp(b)
    b.s_server("-status_file", b.path("ocsp.der"), "-no_tls1_3", cert="p256")
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", "-status")
    return tap.packets


@recipe("tls12-ocsp-staple-revoked.pcap")
def staple_revoked(b):
    _ocsp(b, revoked=True)
    b.s_server("-status_file", b.path("ocsp.der"), "-no_tls1_3", cert="p256")
    with b.lab.capture() as tap:
        b.s_client("-tls1_2", "-status")
    return tap.packets


def _ocsp(b, revoked=False):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509 import ocsp
    cert = x509.load_pem_x509_certificate(open(b.path("p256.pem"), "rb").read())
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    answer = (ocsp.OCSPResponseBuilder().add_response(
        cert, b.ca.cert, hashes.SHA1(), status, pki.NOW - pki.DAY, pki.NOW + 3 * pki.DAY, pki.NOW - 2 * pki.DAY if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None).responder_id(ocsp.OCSPResponderEncoding.HASH, b.ca.cert)
        .sign(b.ca.key, hashes.SHA256()))
    with open(b.path("ocsp.der"), "wb") as f:
        f.write(answer.public_bytes(serialization.Encoding.DER))


@recipe("tls12-big-chain.pcap")
def big_chain(b):
    """Certificate message of more than 16 KB: it spans two records."""
    leaf = pki.issue(b.ca, [HOST] + [f"host-{i:03}.example.org" for i in range(200)], "rsa2048", pad=4000)
    extra = [pki.root(pki.name(f"Unneeded CA {i}", "Example Corp " + "x" * 40), "rsa4096").cert for i in range(6)]
    extra += [pki.issue(b.ca, [f"ballast-{i}.example.org"], pad=1500).cert for i in range(4)]
    leaf.chain += extra
    leaf.save(b.lab, "big")
    b.lab.start("srv", "openssl", "s_server", "-accept", "443", "-cert", b.path("big.pem"), "-cert_chain", b.path("big.pem"),
                "-key", b.path("big.key"), "-rev", "-no_tls1_3", port=443)
    with b.lab.capture() as tap:
        b.s_client("-tls1_2")
    return tap.packets


@recipe("gnutls-server-client.pcap")
def gnutls(b):
    b.lab.start("srv", "gnutls-serv", "--http", "-p", "443", "--x509certfile", b.path("p256.pem"), "--x509keyfile", b.path("p256.key"),
                "--x509certfile", b.path("rsa2048.pem"), "--x509keyfile", b.path("rsa2048.key"), "--priority", "NORMAL:+VERS-TLS1.1", port=443)
    with b.lab.capture() as tap:
        b.gnutls()
        b.gnutls("--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2")
        b.gnutls("--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-RSA-SHA256:-KX-ALL:+DHE-RSA")
        b.gnutls("--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_ETM:%SAFE_RENEGOTIATION", "--resume")
        b.curl()
        b.s_client("-tls1_3")
    return tap.packets


@recipe("nginx-curl.pcap")
def nginx_curl(b):
    b.nginx("ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:1m;")
    with b.lab.capture() as tap:
        b.curl()
        b.curl("--tls-max", "1.2")
        b.curl("--http1.1")
        b.curl("--tls-max", "1.2", f"https://{HOST}/again", "--no-keepalive")
        b.lab.run("c1", "curl", "-sSk", f"https://{SERVER}/")
    return tap.packets


@recipe("nginx-java.pcap")
def nginx_java(b):
    b.nginx("ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:1m;")
    with b.lab.capture() as tap:
        b.java(SERVER, HOST, "TLSv1.3", "trust", "2")
        b.java(SERVER, HOST, "TLSv1.2", "trust", "2")
    return tap.packets


@recipe("nginx-gnutls-openssl.pcap")
def nginx_others(b):
    b.nginx("ssl_protocols TLSv1.2 TLSv1.3;", cert="p384")
    with b.lab.capture() as tap:
        b.gnutls()
        b.s_client()
        b.lab.run("c1", sys.executable, os.path.join(pki.HERE, "client.py"), SERVER, HOST, "1.3")
    return tap.packets


@recipe("ipv6.pcap")
def ipv6(b):
    b.nginx("ssl_protocols TLSv1.2 TLSv1.3;", cert="p256")
    with b.lab.capture() as tap:
        b.curl("-6", address=f"[{SERVER6}]")
        b.curl("-6", "--tls-max", "1.2", address=f"[{SERVER6}]")
        b.s_client("-6", "-tls1_2", address=f"[{SERVER6}]")
    return tap.packets


@recipe("vlan-tagged.pcap")
def vlan(b):
    """One connection in a VLAN, one in QinQ: the tags are put in by tape.py (the veth itself has none)."""
    plain = nginx_curl(b)
    both = tape.connections(plain)
    return tape.tagged(both[0], (0x8100, 110)) + tape.tagged(both[1], (0x88A8, 200), (0x8100, 110))


def _pair(b):
    """A TLS 1.2 and a TLS 1.3 connection, to be damaged."""
    b.nginx("ssl_protocols TLSv1.2 TLSv1.3;", listen="443 ssl")
    with b.lab.capture() as tap:
        b.curl("--tls-max", "1.2")
        b.curl()
    return tap.packets


RECIPES["one-sided-client.pcap"] = lambda b: tape.one_sided(_pair(b), "client")
RECIPES["one-sided-server.pcap"] = lambda b: tape.one_sided(_pair(b), "server")
RECIPES["lossy-server-hello.pcap"] = lambda b: tape.without_data(_pair(b), "server", 0)
RECIPES["lossy-server-second-segment.pcap"] = lambda b: tape.without_data(_pair(b), "server", 1)
RECIPES["lossy-client-hello.pcap"] = lambda b: tape.without_data(_pair(b), "client", 0)


@recipe("midstream.pcap")
def midstream(b):
    """Without the SYNs (1st connection), without everything up to the ServerHello (2nd)."""
    first, second = tape.connections(_pair(b))[:2]
    at = next(i for i, p in enumerate(second) if p.payload() and p.ends()[0][1] == 443)
    return first[3:] + second[at:]


@recipe("reordered-duplicated.pcap")
def reordered(b):
    """Server segments of each flight backwards in time, and every data segment twice."""
    out = []
    for connection in tape.connections(_pair(b)):
        run = []
        for p in connection + [None]:
            if p is not None and p.payload() and p.ends()[0][1] == 443:
                run.append(p)
                continue
            times = sorted(q.time for q in run)
            for stamp, q in zip(times, reversed(run)):
                q.time = stamp
                twin = q.copy()
                twin.time += 1
                out += [q, twin]
            run = []
            if p is not None:
                out.append(p)
    return out


@recipe("small-segments.pcap")
def small_segments(b):
    """The MSS both sides offer is 128 bytes (an MTU of 168), so that every message is cut many times."""
    for where in ("c1", "srv"):
        b.lab.ip(where, "link", "set", "eth0", "mtu", "168")
    try:
        b.s_server("-no_tls1_3")
        with b.lab.capture() as tap:
            b.s_client("-tls1_2")
        return tap.packets
    finally:
        for where in ("c1", "srv"):
            b.lab.ip(where, "link", "set", "eth0", "mtu", "1500")


@recipe("not-tls.pcap")
def not_tls(b):
    """Plain HTTP on port 443, and TLS on port 8080 beside it."""
    b.lab.start("srv", sys.executable, "-m", "http.server", "443", "--directory", b.path("empty"), port=443)
    b.lab.start("srv", "openssl", "s_server", "-accept", "8080", "-cert", b.path("p256.pem"), "-key", b.path("p256.key"), "-www", port=8080)
    with b.lab.capture() as tap:
        b.lab.run("c1", "curl", "-sS", f"http://{SERVER}:443/")
        b.lab.run("c1", "curl", "-sSk", f"https://{SERVER}:8080/", "-o", "/dev/null")
    return tap.packets


def main():
    wanted = sys.argv[1:] or list(RECIPES)
    with Lab([SERVER], servers6=[SERVER6]) as lab:
        bench = Bench(lab)
        os.mkdir(lab.path("empty"))
        subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "dh_paramgen_prime_len:1024", "-out",
                        lab.path("dh1024.pem")], check=True, capture_output=True, timeout=120)
        real = {"OTHER": "other-ca.pem", "CA": "ca.pem", "DH1024": "dh1024.pem", **{f"{n}.{e}": f"{n}.{e}" for n in ("client", "client-ec") for e in ("pem", "key")}}
        plain_server, plain_client = bench.s_server, bench.s_client
        bench.s_server = lambda *a, **k: plain_server(*(lab.path(real[x]) if x in real else x for x in a), **k)
        bench.s_client = lambda *a, **k: plain_client(*(lab.path(real[x]) if x in real else x for x in a), **k)
        failed = []
        for name in wanted:
            try:
                tape.save(name, RECIPES[name](bench))
            except (SystemExit, Exception) as error:
                failed.append(name)
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
            for child in list(lab.children):
                lab.stop(child)
        if failed:
            raise SystemExit(f"not made: {' '.join(failed)}")


if __name__ == "__main__":
    main()
