"""A small network in namespaces, in which real TLS tools talk and tcpdump listens.

        c1 10.1.0.11  c2 10.1.0.12  c5 10.1.0.13    srv: every address a scenario asks for
        c3 10.2.0.21  c4 10.2.0.22  c6 10.2.0.23  -- net --  (203.0.113.x, 198.51.100.x, 192.0.2.x, 10.x)
                                        |
                                       mitm  (only when asked for: owns the servers' addresses too)

`net` routes and has no address of its own but the gateway's. `intercept("c4")` sends what c4 emits to `mitm`, which
answers in the servers' place and reaches the genuine servers through their aliases 10.98.x.y. Every capture is taken
at the clients' own interfaces ("client") or at the servers' ("server"). Nothing leaves the namespaces; all of them and
all processes are removed when the `with` block ends, however it ends.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CLIENTS = {"c1": "10.1.0.11", "c2": "10.1.0.12", "c3": "10.2.0.21", "c4": "10.2.0.22", "c5": "10.1.0.13", "c6": "10.2.0.23"}
CLIENTS6 = {name: "2001:db8:" + a[3] + "::" + a[-2:] for name, a in CLIENTS.items()}
GATEWAY, GATEWAY6 = "169.254.0.1", "fe80::1"
PATIENCE = 20  # seconds any one tool may take


def sh(*args, **kw):
    """Runs a command that must succeed."""
    return subprocess.run(args, check=True, capture_output=True, text=True, timeout=PATIENCE, **kw)


def alias(address):
    """The address under which `mitm` reaches the genuine server that clients know as `address`."""
    parts = address.split(".")
    return f"10.98.{parts[0]}.{parts[3]}" if not address.startswith("10.") else f"10.97.{parts[2]}.{parts[3]}"


class Lab:
    def __init__(self, servers, clients=None, servers6=(), mitm=False):
        self.tag = f"tw{os.getpid() % 100000}"
        self.servers, self.servers6 = list(servers), list(servers6)
        self.clients = {name: CLIENTS[name] for name in (clients or ["c1"])}
        self.with_mitm = mitm
        self.children, self.namespaces = [], []
        self.dir = tempfile.mkdtemp(prefix="tlswatch-lab-")
        os.chmod(self.dir, 0o755)
        atexit.register(self.close)
        # timeout(1) ends a run so; without this nothing would be removed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # ---- building and removing -------------------------------------------------------------------------------------
    def __enter__(self):
        try:
            self._namespace("net")
            self.ip("net", "addr", "add", f"{GATEWAY}/32", "dev", "lo")
            self.run("net", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                     "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
            for name, address in self.clients.items():
                self._attach(name, [address], [CLIENTS6[name]])
            self._attach("srv", self.servers + ([alias(a) for a in self.servers] if self.with_mitm else []), self.servers6)
            if self.with_mitm:
                self._attach("mitm", ["10.99.0.2"], [])
                for address in self.servers:
                    self.ip("mitm", "addr", "add", f"{address}/32", "dev", "lo")
                self.ip("net", "route", "add", "default", "dev", "v-mitm", "via", "10.99.0.2", "onlink", "table", "100")
        except BaseException:
            self.close()
            raise
        return self

    def _namespace(self, name):
        sh("ip", "netns", "add", f"{self.tag}-{name}")
        self.namespaces.append(name)
        self.ip(name, "link", "set", "lo", "up")

    def _attach(self, name, addresses, addresses6):
        self._namespace(name)
        sh("ip", "-n", f"{self.tag}-net", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0",
           "netns", f"{self.tag}-{name}")
        for where, link in (("net", f"v-{name}"), (name, "eth0")):
            self.ip(where, "link", "set", link, "gso_max_segs", "1")
            self.ip(where, "link", "set", link, "up")
        for address in addresses:
            self.ip(name, "addr", "add", f"{address}/32", "dev", "eth0")
            self.ip("net", "route", "add", f"{address}/32", "dev", f"v-{name}")
        self.ip(name, "route", "add", f"{GATEWAY}/32", "dev", "eth0")
        self.ip(name, "route", "add", "default", "via", GATEWAY, "src", addresses[0])
        self.ip("net", "addr", "add", f"{GATEWAY6}/64", "dev", f"v-{name}", "nodad")
        for address in addresses6:
            self.ip(name, "addr", "add", f"{address}/128", "dev", "eth0", "nodad")
            self.ip("net", "route", "add", f"{address}/128", "dev", f"v-{name}")
        if addresses6:
            self.ip(name, "-6", "route", "add", "default", "via", GATEWAY6, "dev", "eth0")

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends this lab's own children and namespaces, nothing else."""
        for child in reversed(self.children):
            self.stop(child)
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", f"{self.tag}-{name}"], capture_output=True)
        self.namespaces = []
        shutil.rmtree(self.dir, ignore_errors=True)

    def intercept(self, client):
        """From now on `mitm` answers this client."""
        self.ip("net", "rule", "add", "from", self.clients[client], "lookup", "100")

    # ---- processes -------------------------------------------------------------------------------------------------
    def path(self, name):
        return os.path.join(self.dir, name)

    def ip(self, where, *args):
        sh("ip", "-n", f"{self.tag}-{where}", *args)

    def run(self, where, *args, stdin="", timeout=PATIENCE, env=None, hold=None, ok=True):
        """Runs a command to its end. `hold`: seconds its standard input stays open. Returns its output."""
        child = subprocess.Popen(["ip", "netns", "exec", f"{self.tag}-{where}", *args], stdin=subprocess.PIPE, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", start_new_session=True,
                                 env={**os.environ, **(env or {})})
        try:
            if hold is not None:
                for line in stdin if isinstance(stdin, list) else [stdin]:
                    time.sleep(hold)
                    child.stdin.write(line)
                    child.stdin.flush()
                time.sleep(hold)
                stdin = ""
            out, _ = child.communicate(stdin, timeout=timeout)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            os.killpg(child.pid, signal.SIGKILL)
            out, _ = child.communicate()
        if not ok and child.returncode == 0:
            raise SystemExit(f"{args} succeeded, which it should not:\n{out}")
        return out

    def start(self, where, *args, port=None, log=None, env=None, prefix=()):
        """Starts a server and waits until it listens on `port` (if one is given)."""
        log = open(self.path(log or f"{os.path.basename(args[0])}.log"), "ab")
        child = subprocess.Popen(["ip", "netns", "exec", f"{self.tag}-{where}", *prefix, *args], stdin=subprocess.PIPE,
                                 stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(env or {})})
        self.children.append(child)
        end = time.monotonic() + PATIENCE
        while port and time.monotonic() < end:
            listening = sh("ip", "netns", "exec", f"{self.tag}-{where}", "ss", "-Hltn", f"sport = :{port}").stdout
            if listening.strip():
                return child
            if child.poll() is not None:
                break
            time.sleep(0.05)
        if port:
            raise SystemExit(f"{args} does not listen on {port}:\n{open(log.name, errors='replace').read()[-2000:]}")
        return child

    def stop(self, child, sig=signal.SIGTERM):
        """Ends one child and the processes of its session."""
        if child.poll() is None:
            try:
                os.killpg(child.pid, sig)
                child.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait(3)
            except ProcessLookupError:
                pass
        if child in self.children:
            self.children.remove(child)

    # ---- capturing -------------------------------------------------------------------------------------------------
    def capture(self, *where, interface="eth0", what="tcp"):
        """Context manager: packets at these namespaces' interfaces, as a list of `tape.Packet`s afterwards."""
        return Capture(self, where or tuple(self.clients), interface, what)


class Capture:
    def __init__(self, lab, where, interface, what):
        self.lab, self.where, self.interface, self.what = lab, where, interface, what
        self.packets, self.parts = [], []

    def __enter__(self):
        for name in self.where:
            out = self.lab.path(f"{name}-{time.monotonic_ns()}.pcap")
            err = open(out + ".err", "w+b")
            child = subprocess.Popen(["ip", "netns", "exec", f"{self.lab.tag}-{name}", "tcpdump", "-Z", "root", "-i", self.interface,
                                      "--immediate-mode", "-s", "4000", "-B", "8192", "-U", "-w", out, self.what], stderr=err, start_new_session=True)
            self.lab.children.append(child)
            self.parts.append((child, out, err.name))
        end = time.monotonic() + PATIENCE
        for _, _, err in self.parts:
            while "listening on" not in open(err).read():
                if time.monotonic() > end:
                    raise SystemExit("tcpdump does not start: " + open(err).read())
                time.sleep(0.02)
        return self

    def __exit__(self, *_):
        import tape
        time.sleep(0.25)
        for child, out, err in self.parts:
            self.lab.stop(child, signal.SIGINT)
            if "\n0 packets dropped by kernel" not in open(err).read():
                raise SystemExit("tcpdump lost packets: " + open(err).read())
            self.packets += tape.read(out)
        self.packets.sort(key=lambda p: p.time)
