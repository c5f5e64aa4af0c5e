#!/usr/bin/env python3
"""Makes the captures of attacks and misuse: `intercept.py [NAME...]`. Each begins with the true traffic before it.

Needs nginx, curl, gnutls-cli, openssl, sslsplit, squid-openssl, Java and mitmdump (MITMDUMP=path, default: the PATH).
"""

import os
import shutil
import subprocess
import sys

import pki
import tape
from lab import alias
from world import SOFTWARE, World, main, recipe

SIX = {"www.example.com": "203.0.113.10", "login.example.net": "203.0.113.11", "www.example.org": "203.0.113.12",
       "mail.example.edu": "198.51.100.13", "shop.example.co.uk": "198.51.100.14", "www.example.de": "192.0.2.15"}
TWO = {h: SIX[h] for h in ("www.example.com", "login.example.net")}
MITMDUMP = os.environ.get("MITMDUMP") or shutil.which("mitmdump") or "/opt/mitm/bin/mitmdump"


def genuine(sites):
    return {host: pki.public("ac"[i % 2]).leaf([host], before=30 + i, after=60 - i) for i, host in enumerate(sites)}


def before(w, leaves, days=(-2, -1), clients=("c1", "c2", "c3")):
    """The true traffic: every site, by some clients a day, taking turns."""
    w.serve(leaves)
    names = list(SOFTWARE)
    for d, n in enumerate(days):
        w.day(n, [(names[(i + d * 3 + k) % 6], host) for i, host in enumerate(leaves) for k in range(len(clients) - 1)])


def prefix_python(script, *args):
    return (sys.executable, os.path.join(pki.HERE, script), *args)


@recipe("mitm-mitmproxy.pcap")
def mitmproxy():
    with World(SIX, mitm=True) as w:
        before(w, genuine(SIX))
        modes = [x for a in SIX.values() for x in ("--mode", f"reverse:https://{alias(a)}:443@{a}:443")]
        w.lab.start("mitm", MITMDUMP, "-q", "--ssl-insecure", "--set", f"confdir={w.lab.path('mitmproxy')}", *modes, port=443)
        w.lab.intercept("c4")
        w.day(0, [("c1", h) for h in TWO] + [("c4", h, "-tls1_2") for h in SIX] + [("c3", h) for h in TWO], step=30)
        return w.packets


@recipe("mitm-sslsplit.pcap")
def sslsplit():
    three = {h: SIX[h] for h in list(SIX)[:3]}
    with World(three, mitm=True) as w:
        before(w, genuine(three))
        ca = pki.root(pki.name("Network Security CA", "Lab"), "rsa2048")
        pem, key = pki.Leaf(ca.key, ca.cert, []).save(w.lab, "split")
        specs = [x for a in three.values() for x in ("ssl", a, "443", alias(a), "443")]
        w.lab.start("mitm", "sslsplit", "-D", "-u", "root", "-k", key, "-c", pem, "-O", *specs, port=443)
        w.lab.intercept("c4")
        w.day(0, [("c1", h) for h in three] + [("c4", h, "-tls1_2") for h in three] + [("c4", h) for h in three] + [("c3", h) for h in three], step=30)
        return w.packets


@recipe("mitm-squid.pcap")
def squid():
    """Squid bumps CONNECT tunnels; connect.py in front of it hides the CONNECT from the client, as a redirect would."""
    with World(TWO, mitm=True) as w:
        before(w, genuine(TWO), days=(-2, -1, -0.5))
        ca = pki.root(pki.name("Proxy CA", "Example Corp"), "rsa2048")
        pem, key = pki.Leaf(ca.key, ca.cert, []).save(w.lab, "squid-ca")
        home = w.lab.path("squid")
        os.mkdir(home)
        helper = next(p for p in ("/usr/lib/squid/security_file_certgen",) if os.path.exists(p))
        subprocess.run([helper, "-c", "-s", home + "/db", "-M", "4MB"], check=True, capture_output=True, timeout=20)
        with open(w.lab.path("squid.conf"), "w") as f:
            f.write(f"""http_port 127.0.0.1:3128 ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={pem} tls-key={key}
                sslcrtd_program {helper} -s {home}/db -M 4MB
                sslcrtd_children 1
                acl step1 at_step SslBump1
                ssl_bump peek step1
                ssl_bump bump all
                sslproxy_cert_error allow all
                tls_outgoing_options flags=DONT_VERIFY_PEER min-version=1.2
                http_access allow all
                host_verify_strict off
                cache deny all
                access_log none
                cache_log {home}/cache.log
                cache_store_log none
                pid_filename {home}/squid.pid
                coredump_dir {home}
                netdb_filename none
                pinger_enable off
                shutdown_lifetime 1 seconds
                visible_hostname proxy.example.com
                """)
        for folder, _, files in os.walk(home):
            os.chown(folder, 13, 13)
            for name in files:
                os.chown(os.path.join(folder, name), 13, 13)
        squid_child = w.lab.start("mitm", "squid", "-N", "-n", w.lab.tag, "-f", w.lab.path("squid.conf"), port=3128,
                                  prefix=("setpriv", "--reuid", "13", "--regid", "13", "--clear-groups"))
        w.lab.start("mitm", *prefix_python("connect.py", "3128", *(f"{a}={alias(a)}" for a in TWO.values())), port=443)
        w.lab.intercept("c4")
        w.day(0, [("c1", h) for h in TWO] + [("c4", h, "-tls1_2") for h in TWO] * 2 + [("c3", h) for h in TWO], step=30)
        w.lab.stop(squid_child)
        return w.packets


def self_made(forge, hosts=TWO, visits=None, days=(-2, -1), step=30, newest="tls12"):
    """True traffic, then c4 meets forged certificates: `forge(host, genuine leaf)` gives the forged leaf."""
    with World(hosts, mitm=True) as w:
        leaves = genuine(hosts)
        before(w, leaves, days)
        specs = []
        for i, (host, leaf) in enumerate(leaves.items()):
            pem, key = forge(host, leaf).save(w.lab, f"forged-{i}")
            specs += [f"{hosts[host]}={alias(hosts[host])}={pem}={key}"]
        w.lab.start("mitm", *prefix_python("forger.py", newest, *specs), port=443)
        w.lab.intercept("c4")
        w.day(0, visits(w) if visits else [("c1", h) for h in hosts] + [("c4", h) for h in hosts] + [("c3", h) for h in hosts] + [("c4", h) for h in hosts], step)
        return w.packets


@recipe("mitm-issuer-impersonation.pcap")
def impersonation():
    """The forging CA has the name of the genuine issuer, its subject key identifier too, but not its key."""
    def forge(host, leaf):
        fake = pki.root(leaf.cert.issuer, "rsa2048", before=200)
        return pki.issue(fake, [host], "rsa2048", before=1, after=89, aki=leaf.cert)
    return self_made(forge)


@recipe("mitm-cloned-certificate.pcap")
def cloned():
    """Serial number, names and validity of the genuine certificate, another issuer and key (as bettercap does, RSA-1024)."""
    fake = pki.root(pki.name("Gateway Certificate Authority - G2", "Gateway"), "rsa2048")

    def forge(host, leaf):
        return pki.issue(fake, [host], "rsa1024", serial=leaf.cert.serial_number, not_before=leaf.cert.not_valid_before_utc,
                         not_after=leaf.cert.not_valid_after_utc)
    return self_made(forge)


@recipe("mitm-no-ca.pcap")
def no_ca():
    """The key of a shop's public certificate signs for other hosts: clients that do not look for cA take that."""
    shop = pki.public("a").leaf(["shop.example.biz"])
    forger = pki.Ca(shop.key, shop.cert, [shop.cert] + shop.chain)
    return self_made(lambda host, leaf: pki.issue(forger, [host], before=1, after=80))


@recipe("mitm-product-fortigate.pcap")
def product():
    """A leaf as an interception product signs it (names in its CA, its own key)."""
    fake = pki.root(pki.name("FortiGate CA", "Fortinet", "US", "Certificate Authority"), "rsa2048")
    return self_made(lambda host, leaf: pki.issue(fake, [host], "rsa2048", before=2, after=363))


@recipe("mitm-rejected.pcap")
def rejected():
    """As above, but c1..c4 verify and refuse: OpenSSL, curl, GnuTLS and Java."""
    fake = pki.root(pki.name("Proxy Root", "Unknown"), "rsa2048")
    host = "www.example.com"

    def visits(w):
        import handshakes
        roots = os.path.join(pki.CA_DIR, "public-roots.pem")
        for c in ("c1", "c3"):
            w.lab.intercept(c)
        handshakes.Bench.java_class()
        return [lambda: w.visit("c1", host, "--no-insecure", "--cacert", roots), lambda: w.visit("c1", host, "--no-insecure", "--cacert", roots, "--tls-max", "1.2"),
                lambda: w.visit("c3", host, "-CAfile", roots, "-verify_return_error", software="openssl"),
                lambda: w.visit("c3", host, "-CAfile", roots, "-verify_return_error", "-tls1_2", software="openssl"),
                lambda: w.lab.run("c4", "gnutls-cli", "--x509cafile", roots, "--sni-hostname", host, "-p", "443", SIX[host], timeout=8),
                lambda: w.lab.run("c4", "java", "-XX:TieredStopAtLevel=1", "-cp", os.path.join(pki.STATE, "java"), "Client", SIX[host], host, "TLSv1.2", "distrust", "1"),
                lambda: w.lab.run("c4", "java", "-XX:TieredStopAtLevel=1", "-cp", os.path.join(pki.STATE, "java"), "Client", SIX[host], host, "TLSv1.3", "distrust", "1")]
    return self_made(lambda host, leaf: pki.issue(fake, [host], "rsa2048", before=1, after=364), {host: SIX[host]}, visits, step=20, newest="tls13")


@recipe("captive-portal.pcap")
def portal():
    """One certificate of the portal's own name answers for every site; public, so that only the name is wrong."""
    leaf = pki.public("b").leaf(["portal.example.info"])
    return self_made(lambda host, _: leaf, SIX, lambda w: [("c4", h) for h in list(SIX)[:5]], days=(-1,), step=8)


@recipe("mitm-downgrade.pcap")
def downgrade():
    """strip.py takes TLS 1.3 out of supported_versions. Three captures: at the client, at the server, and both together."""
    host = "www.example.com"
    with World({host: SIX[host]}, mitm=True, protocols="TLSv1.2 TLSv1.3") as w:
        w.serve(genuine([host]))
        w.day(-1, [(c, host) for c in SOFTWARE])
        w.lab.start("mitm", *prefix_python("strip.py", f"{SIX[host]}={alias(SIX[host])}"), port=443)
        w.lab.intercept("c4")
        both = []
        with w.lab.capture("c4") as near, w.lab.capture("srv") as far:
            for _ in range(2):
                w.visit("c4", host)
            w.visit("c4", host, software="curl")
        for tap in (near, far):
            both.append([p for c in tape.connections(tap.packets) for p in c])
        return {"mitm-downgrade.pcap": w.packets + both[0], "downgrade-server-side.pcap": both[1], "mitm-downgrade-both-sides.pcap": w.packets + both[0] + both[1]}


@recipe("key-shared.pcap")
def shared():
    """One key in three self-signed certificates of unrelated names; then one issuer and serial number twice."""
    sites = {h: SIX[h] for h in list(SIX)[:5]}
    key = pki.new_key("rsa2048")
    leaves = {h: pki.issue(None, [h], key, subject=pki.name(h, f"Company {i}")) for i, h in enumerate(list(sites)[:3])}
    ca = pki.root(pki.name("Careless CA", "Careless"))
    for h in list(sites)[3:]:
        leaves[h] = pki.issue(ca, [h], serial=0x5DEECE66D1234567)
    with World(sites) as w:
        w.serve(leaves)
        w.day(-1, [(c, h) for h in sites for c in ("c1", "c3")])
        return w.packets


@recipe("key-weak.pcap")
def weak_keys():
    """Two moduli with a common prime, one of two close primes, and an exponent of 3."""
    pub, p = pki.public("b"), pki.prime(1024)
    keys = {"shared-factor-1": pki.rsa_from(p, pki.prime(1024)), "shared-factor-2": pki.rsa_from(p, pki.prime(1024)),
            "close-primes": pki.rsa_from(p2 := pki.prime(1024), pki.prime(1024, p2 + 1000))}
    while "exponent-3" not in keys:
        try:
            keys["exponent-3"] = pki.rsa_from(pki.prime(1024), pki.prime(1024), 3)
        except ValueError:
            continue
    with World({f"{n}.example.com": f"203.0.113.{70 + i}" for i, n in enumerate(keys)}) as w:
        w.serve({f"{n}.example.com": pub.leaf([f"{n}.example.com"], key) for n, key in keys.items()})
        w.day(-1, [(c, h) for h in w.sites for c in ("c1", "c3")], step=60)
        return w.packets


@recipe("mitm-split-view.pcap")
def split_view():
    """Within one hour: five clients in two subnets keep seeing the genuine certificate, c4 alone another one."""
    host, fake = "www.example.com", pki.root(pki.name("Campus Gateway", "Campus"), "rsa2048")
    names = ["c1", "c2", "c3", "c5", "c6"]
    return self_made(lambda h, leaf: pki.issue(fake, [h], "p256", before=100, after=265), {host: SIX[host]},
                     lambda w: [(c, host) for i in range(3) for c in names[:4] + ["c4"] + names[4:]], days=(-1,), step=120)


@recipe("key-ephemeral-reused.pcap")
def ephemeral():
    """A server that signs the same ECDHE key again and again, over two days."""
    host = "www.example.com"
    with World({host: SIX[host]}) as w:
        pem, key = pki.public("a").leaf([host]).save(w.lab, "leaf")
        w.lab.start("srv", *prefix_python("careless.py", SIX[host], pem, key, "ecdhe"), port=443)
        for n in (-2, -0.5):
            w.day(n, [lambda c=c: w.visit(c, host, "--tls-max", "1.2", software="curl") for c in ("c1", "c5", "c3", "c4")])
        return w.packets


@recipe("client-cert-stolen.pcap")
def stolen():
    """A service's client certificate: a dozen days from c1 (curl), then from another subnet with other software."""
    host, corp = "api.example.com", pki.private()
    with World({host: "203.0.113.20"}) as w:
        cert, key = pki.issue(corp, ["backup-7.example.com"], "rsa2048", eku=("client",), before=200, after=165,
                              subject=pki.name("backup-7.example.com", "Example Corp")).save(w.lab, "backup")
        with open(w.lab.path("corp.pem"), "wb") as f:
            f.write(pki.cert_pem(corp.cert))
        w.serve({host: pki.public("a").leaf([host])}, extra=f"ssl_client_certificate {w.lab.path('corp.pem')}; ssl_verify_client on;")
        use = lambda: w.visit("c1", host, "--cert", cert, "--key", key)
        for n in range(-12, 0):
            w.day(n, [use])
        honest = list(w.packets)
        w.day(0, [use, lambda: w.visit("c4", host, "--x509certfile", cert, "--x509keyfile", key, software="gnutls"),
                  lambda: w.visit("c4", host, "--x509certfile", cert, "--x509keyfile", key, software="gnutls")], step=120)
        return {"client-cert-stolen.pcap": w.packets, "benign-client-cert.pcap": honest}


@recipe("rsa-fault.pcap")
def fault():
    """One ServerKeyExchange signature as a processor fault in RSA-CRT would make it; a copy with a random one."""
    host = "www.example.com"
    with World({host: SIX[host]}) as w:
        leaf = pki.public("b").leaf([host], "rsa2048")
        w.serve({host: leaf})
        w.day(-1, [lambda c=c: w.visit(c, host, "-tls1_2", "-sigalgs", "RSA+SHA256", software="openssl") for c in ("c1", "c3", "c4")])
        import faults
        return {"rsa-fault.pcap": faults.crt(w.packets, leaf.key, 1), "damaged-signature.pcap": faults.noise(w.packets, 1)}


@recipe("cert-faults.pcap")
def cert_faults():
    """One host for each fault a certificate can have; visited by two clients each."""
    pub, rsa = pki.public("a"), pki.public("b")
    names = ["expired", "future", "wronghost", "sha1", "md5", "is-ca", "client-only", "broken", "self-signed", "untrusted", "rsa1024", "no-sct", "too-long"]
    hosts = {n: f"{n}.example.com" for n in names}
    other = pki.root(pki.name("Nobody Knows CA", "Nobody"))
    leaves = {"expired": pub.leaf([hosts["expired"]], before=95, after=-5), "future": pub.leaf([hosts["future"]], before=-10, after=90),
              "wronghost": pub.leaf(["another.example.com"]), "is-ca": pub.leaf([hosts["is-ca"]], ca_flag=True),
              "sha1": pki.with_old_digest(rsa.leaf([hosts["sha1"]]), rsa, "sha1"), "md5": pki.with_old_digest(rsa.leaf([hosts["md5"]]), rsa, "md5"),
              "client-only": pub.leaf([hosts["client-only"]], eku=("client",)),
              "broken": pub.leaf([hosts["broken"]], spoil=True), "self-signed": pki.issue(None, [hosts["self-signed"]]),
              "untrusted": other.leaf([hosts["untrusted"]]), "rsa1024": pub.leaf([hosts["rsa1024"]], "rsa1024"),
              "no-sct": pub.leaf([hosts["no-sct"]], sct=False), "too-long": pub.leaf([hosts["too-long"]], before=30, after=500)}
    with World({hosts[n]: f"203.0.113.{30 + i}" for i, n in enumerate(names)}) as w:
        w.serve({hosts[n]: leaves[n] for n in names}, weak=True)
        w.day(-1, [(c, h) for h in hosts.values() for c in ("c1", "c3")], step=60)
        return w.packets


@recipe("demo.pcap")
def demo():
    """For `make demo`: an ordinary half hour with several hosts and clients, and at its end c4 behind mitmproxy."""
    with World(SIX, mitm=True, protocols="TLSv1.2 TLSv1.3") as w:
        leaves = genuine(SIX)
        leaves["mail.example.edu"] = pki.public("b").leaf(["mail.example.edu"], "rsa2048", before=80, after=9)
        w.serve(leaves)
        old = {"curl": ("--tls-max", "1.2"), "openssl": ("-tls1_2",), "gnutls": ("--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2"), "python": ()}
        visits = []
        for i, (c, h) in enumerate([(c, h) for k, h in enumerate(SIX) for c in list(SOFTWARE)[k % 2::2] + ["c4"]]):
            visits.append((c, h, *old[SOFTWARE[c]]) if i % 4 != 1 else (c, h))
        w.day(0, visits, step=45)
        modes = [x for a in SIX.values() for x in ("--mode", f"reverse:https://{alias(a)}:443@{a}:443")]
        w.lab.start("mitm", MITMDUMP, "-q", "--ssl-insecure", "--set", f"confdir={w.lab.path('mitmproxy')}", *modes, port=443)
        w.lab.intercept("c4")
        w.day(1600 / 86400, [("c4", h, "-tls1_2") for h in SIX], step=12)
        return w.packets


if __name__ == "__main__":
    main()
