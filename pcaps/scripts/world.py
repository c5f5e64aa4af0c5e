"""Sites, visitors and days: what the interception and the benign scenarios share.

A `World` is a lab with six clients (c1 c2 c5 in 10.1.0.0/24, c3 c4 c6 in 10.2.0.0/24) and nginx serving named sites at
their addresses. `day(n, visits)` lets the clients visit and moves what was recorded to n days from now (n <= 0), one
connection every `step` seconds. Clients differ in software: c1 c5 curl, c2 c6 GnuTLS, c3 Python, c4 OpenSSL.
"""

import os
import sys
import time

import pki
import tape
from lab import Lab, alias

SOFTWARE = {"c1": "curl", "c2": "gnutls", "c3": "python", "c4": "openssl", "c5": "curl", "c6": "gnutls"}
RECIPES = {}


def recipe(name):
    def register(f):
        RECIPES[name] = f
        return f
    return register


class World:
    """`sites`: host -> address. Certificates are given to `serve`."""

    def __init__(self, sites, mitm=False, protocols="TLSv1.2"):
        self.sites, self.protocols = dict(sites), protocols
        self.lab = Lab(sorted(set(self.sites.values())), clients=list(SOFTWARE), mitm=mitm)
        self.nginx, self.number, self.packets = None, 0, []
        self.now = time.time() - 1800

    def __enter__(self):
        self.lab.__enter__()
        return self

    def __exit__(self, *_):
        self.lab.close()

    def serve(self, leaves, extra="", at=None, weak=False):
        """(Re)starts nginx: host -> leaf or list of leaves (RSA + ECDSA); `at`: host -> address instead of the usual one; `weak`: security level 0."""
        if self.nginx:
            self.lab.stop(self.nginx)
        self.number += 1
        blocks = ""
        for i, (host, some) in enumerate(leaves.items()):
            address = (at or {}).get(host, self.sites.get(host))
            files = ""
            for j, leaf in enumerate(some if isinstance(some, list) else [some]):
                pem, key = leaf.save(self.lab, f"{self.number}-{i}-{j}")
                files += f"ssl_certificate {pem}; ssl_certificate_key {key};\n"
            listens = f"listen {address}:443 ssl;" + (f" listen {alias(address)}:443 ssl;" if self.lab.with_mitm else "")
            blocks += f"server {{ {listens} server_name {host.split('@')[0]}; {files} {extra} location / {{ return 200 \"hello\\n\"; }} }}\n"
        path = self.lab.path
        with open(path("nginx.conf"), "w") as f:
            f.write(f"""user root; pid {path('nginx.pid')}; error_log {path('nginx-error.log')}; worker_processes 1; daemon off;
                events {{ worker_connections 64; }}
                http {{ access_log off; client_body_temp_path {path('t1')}; proxy_temp_path {path('t2')};
                  fastcgi_temp_path {path('t3')}; uwsgi_temp_path {path('t4')}; scgi_temp_path {path('t5')};
                  server_names_hash_bucket_size 128; ssl_protocols {self.protocols}; ssl_session_tickets off; {blocks} }}""")
        with open(path("openssl.cnf"), "w") as f:  # OpenSSL's default level refuses SHA-1 and RSA-1024 certificates
            f.write("openssl_conf=c\n[c]\nssl_conf=s\n[s]\nsystem_default=d\n[d]\nCipherString=DEFAULT@SECLEVEL=0\n")
        self.nginx = self.lab.start("srv", "nginx", "-c", path("nginx.conf"), "-e", path("nginx-error.log"), port=443,
                                    env={"OPENSSL_CONF": path("openssl.cnf")} if weak else None)

    def visit(self, client, host, *more, software=None, address=None, sni=True):
        """One visit; the client accepts whatever certificate it is shown unless `more` says otherwise."""
        address = address or self.sites[host]
        software = software or SOFTWARE[client]
        run = lambda *args, **kw: self.lab.run(client, *args, **kw)
        if software == "curl":
            return run("curl", "-sSk", "--max-time", "8", "--resolve", f"{host}:443:{address}", *more, f"https://{host}/")
        if software == "gnutls":
            name = ["--sni-hostname", host] if sni else ["--disable-sni"]
            return run("gnutls-cli", "--insecure", *name, "-p", "443", *more, address, stdin=["GET / HTTP/1.0\r\n\r\n"], hold=0.1, timeout=8)
        if software == "python":
            return run(sys.executable, os.path.join(pki.HERE, "client.py"), address, host if sni else "", "1.3", *more, timeout=8)
        name = ["-servername", host] if sni else ["-noservername"]
        return run("openssl", "s_client", "-connect", f"{address}:443", *name, *more, stdin=["GET / HTTP/1.0\r\n\r\n"], hold=0.1, timeout=8)

    def day(self, n, visits, step=240.0, where=()):
        """`visits`: (client, host) pairs or functions without arguments."""
        with self.lab.capture(*where) as tap:
            for v in visits:
                v() if callable(v) else self.visit(*v)
        moved = tape.stretch(tap.packets, self.now + n * 86400, step)
        self.packets += moved
        return moved

    def everyone(self, hosts=None, clients=None):
        return [(c, h) for h in (hosts or self.sites) for c in (clients or SOFTWARE)]


def main():
    wanted = sys.argv[1:] or list(RECIPES)
    failed = []
    for name in wanted:
        try:
            made = RECIPES[name]()
            for file, packets in (made if isinstance(made, dict) else {name: made}).items():
                tape.save(file, packets)
        except (SystemExit, Exception) as error:
            failed.append(name)
            import traceback
            traceback.print_exc()
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
    if failed:
        raise SystemExit(f"not made: {' '.join(failed)}")
