#!/usr/bin/env python3
"""Makes the captures of what changes without anybody attacking: `benign.py [NAME...]`.

Each recipe tells in days (0 = today) what the owner of a site did. `lossy` and `one-sided` copies of some are made too.
"""

import pki
import tape
from world import SOFTWARE, World, main, recipe

HOST, ADDRESS = "www.example.com", "203.0.113.10"
ALL = list(SOFTWARE)


def change(old, new, old_days=(-6, -3), new_days=(-1,), host=HOST, address=ADDRESS, **kw):
    """Everyone sees `old`, later everyone sees `new`."""
    with World({host: address}, **kw) as w:
        for leaf, days in ((old, old_days), (new, new_days)):
            w.serve({host: leaf})
            for n in days:
                w.day(n, [(c, host) for c in ALL], step=200)
        return w.packets


def damaged(stem, packets):
    """The capture itself, and what a lossy or a badly placed sensor would have of it."""
    out = []
    for i, connection in enumerate(tape.connections(packets)):
        out += tape.without_data(connection, "server", i % 3) if i % 3 == 1 else connection
    return {f"{stem}.pcap": packets, f"{stem}-lossy.pcap": out, f"{stem}-server-side-only.pcap": tape.one_sided(packets, "server")}


@recipe("benign-renewal-same-key.pcap")
def same_key():
    old = pki.public("a").leaf([HOST], before=85, after=5)
    return damaged("benign-renewal-same-key", change(old, pki.public("a").leaf([HOST], old.key, before=2, after=88)))


@recipe("benign-renewal-new-key.pcap")
def new_key():
    ca = pki.public("a")
    return damaged("benign-renewal-new-key", change(ca.leaf([HOST], before=65, after=25), ca.leaf([HOST], before=2, after=88)))


@recipe("benign-ca-change-old-expired.pcap")
def ca_change_expired():
    return change(pki.public("a").leaf([HOST], before=91, after=-2), pki.public("c").leaf([HOST], before=1.5, after=88))


@recipe("benign-ca-change-midlife.pcap")
def ca_change_midlife():
    return damaged("benign-ca-change-midlife", change(pki.public("a").leaf([HOST], before=20, after=70), pki.public("c").leaf([HOST], before=2, after=88)))


@recipe("benign-new-intermediate.pcap")
def intermediate():
    return change(pki.public("a").leaf([HOST], before=70, after=20), pki.public("a", 2).leaf([HOST], before=2, after=88))


@recipe("benign-six-day-certificates.pcap")
def six_days():
    with World({HOST: ADDRESS}) as w:
        for n in range(-12, 1, 3):
            w.serve({HOST: pki.public("a").leaf([HOST], before=-n + 1, after=n + 5)})
            w.day(n, [(c, HOST) for c in ALL[:4]])
        return w.packets


@recipe("benign-rsa-and-ecdsa.pcap")
def pair():
    """One host with a certificate of each key type under sibling intermediates; the client's offer decides."""
    with World({HOST: ADDRESS}) as w:
        w.serve({HOST: [pki.public("a").leaf([HOST]), pki.public("b").leaf([HOST], "rsa2048")]})
        rsa_only = ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
        for n in (-2, -1, 0):
            w.day(n, [(c, HOST) for c in ALL] + [lambda c=c: w.visit(c, HOST, *rsa_only, software="openssl") for c in ("c4", "c6")])
        return w.packets


@recipe("benign-cdn.pcap")
def cdn():
    """Two CDNs take turns: other addresses, other CAs, many names in each certificate."""
    others = [f"www.example.{t}" for t in ("net", "org", "edu")]
    near, far = pki.public("a").leaf([HOST] + others), pki.public("c").leaf([HOST, "*.cdn.example.net"], before=10, after=80)
    third = pki.public("b").leaf([HOST] + others[:2], "rsa2048", before=50, after=40)
    with World({HOST: ADDRESS, f"{HOST}@2": "198.51.100.10", f"{HOST}@3": "192.0.2.10"}) as w:
        w.serve({HOST: near, f"{HOST}@2": far, f"{HOST}@3": third})
        addresses = list(w.sites.values())
        for n in (-3, -2, -1, 0):
            w.day(n, [lambda c=c, a=addresses[(i + n) % 3]: w.visit(c, HOST, address=a) for i, c in enumerate(ALL)])
        return w.packets


@recipe("benign-load-balancer.pcap")
def balancer():
    """Two machines behind one name, each with its own key and certificate of the same CA; a third joins."""
    with World({HOST: ADDRESS, f"{HOST}@2": "203.0.113.11", f"{HOST}@3": "203.0.113.12"}) as w:
        w.serve({h: pki.public("a").leaf([HOST], before=30 + i, after=60 - i) for i, h in enumerate(w.sites)})
        addresses = list(w.sites.values())
        for n in (-2, -1, 0):
            w.day(n, [lambda c=c, a=addresses[i % (2 if n < 0 else 3)]: w.visit(c, HOST, address=a) for i, c in enumerate(ALL)])
        return w.packets


@recipe("benign-self-signed-device.pcap")
def device():
    """A printer that makes itself a new certificate after each restart (three times)."""
    host, address = "printer-3.corp.example", "10.9.0.40"
    with World({host: address}) as w:
        for n in (-9, -6, -3, 0):
            w.serve({host: pki.issue(None, [host], "rsa2048", before=-n + 0.2, after=3650 + n, subject=pki.name(host, "Printer"))})
            w.day(n, [("c1", host), ("c3", host), ("c2", host)])
        return damaged("benign-self-signed-device", w.packets)


@recipe("benign-device-renews-once.pcap")
def device_once():
    host, address = "nas.corp.example", "10.9.0.41"
    make = lambda n: pki.issue(None, [host], before=-n + 0.2, after=3650 + n, subject=pki.name(host, "NAS"))
    return change(make(-7), make(-1), host=host, address=address)


@recipe("benign-private-pki.pcap")
def private_pki():
    """Intranet hosts under the company's own root; one of them is renewed."""
    sites = {f"{n}.corp.example": f"10.9.0.{50 + i}" for i, n in enumerate(("wiki", "git", "mail"))}
    ca = pki.private()
    leaves = {h: ca.leaf([h], before=300, after=65) for h in sites}
    with World(sites) as w:
        w.serve(leaves)
        w.day(-3, w.everyone(clients=ALL[:4]))
        leaves["git.corp.example"] = ca.leaf(["git.corp.example"], before=1, after=364)
        w.serve(leaves)
        w.day(0, w.everyone(clients=ALL[2:]))
        return damaged("benign-private-pki", w.packets)


@recipe("benign-private-ca-change.pcap")
def private_change():
    """The company moves a host to a new root of its own, unannounced."""
    host = "git.corp.example"
    return change(pki.private().leaf([host], before=200, after=165), pki.private("Example Corp Internal CA 2").leaf([host], before=2, after=363),
                  host=host, address="10.9.0.51")


@recipe("benign-wildcard-many-hosts.pcap")
def wildcard():
    """One wildcard certificate for many hosts and addresses of one owner, renewed in between."""
    sites = {f"{n}.example.org": f"203.0.113.{60 + i}" for i, n in enumerate(("www", "mail", "shop", "api", "img"))}
    with World(sites) as w:
        for n, leaf in ((-2, pki.public("a").leaf(["*.example.org", "example.org"], before=62, after=28)),
                        (0, pki.public("a").leaf(["*.example.org", "example.org"], before=1, after=89))):
            w.serve({h: leaf for h in sites})
            w.day(n, [(c, h) for i, h in enumerate(sites) for c in ALL[i % 2::3]])
        return w.packets


@recipe("benign-tls13-everyone.pcap")
def tls13():
    """TLS 1.3 with a renewal in the middle, as it would look to somebody who counts record lengths."""
    ca = pki.public("a")
    with World({HOST: ADDRESS}, protocols="TLSv1.3") as w:
        for n, leaf in ((-2, ca.leaf([HOST], before=62, after=28)), (0, ca.leaf([HOST], before=1, after=89))):
            w.serve({HOST: leaf})
            w.day(n, [(c, HOST) for c in ALL])
        return w.packets


@recipe("benign-no-sni.pcap")
def no_sni():
    """Calls without SNI; the certificate is renewed in between."""
    ca = pki.public("a")
    with World({HOST: ADDRESS}) as w:
        for n, leaf in ((-2, ca.leaf([HOST], before=62, after=28)), (0, ca.leaf([HOST], before=1, after=89))):
            w.serve({HOST: leaf})
            w.day(n, [lambda c=c: w.visit(c, HOST, software="openssl", sni=False) for c in ("c1", "c3", "c4")])
        return w.packets


@recipe("benign-hello-retry-requests.pcap")
def retries():
    """Three HelloRetryRequests, whose random is always the same: no reuse of a server's random."""
    pem_host = HOST
    with World({HOST: ADDRESS}) as w:
        pem, key = pki.public("a").leaf([pem_host]).save(w.lab, "leaf")
        w.lab.start("srv", "openssl", "s_server", "-accept", "443", "-cert", pem, "-cert_chain", pem, "-key", key, "-www", "-groups", "P-384", port=443)
        w.day(0, [lambda c=c: w.visit(c, HOST, "-groups", "X25519:P-384", software="openssl") for c in ("c1", "c3", "c4")])
        return w.packets


if __name__ == "__main__":
    main()
