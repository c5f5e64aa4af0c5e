#!/usr/bin/env python3
"""Makes lossy and one-sided copies of captures that exist already: `copies.py` (the list below)."""

import os

import pki
import tape
from benign import damaged

COPIES = {"mitm-mitmproxy": "lossy", "mitm-sslsplit": "server-side-only", "benign-cdn": "lossy", "benign-load-balancer": "server-side-only",
          "benign-rsa-and-ecdsa": "lossy", "benign-device-renews-once": "lossy"}

if __name__ == "__main__":
    for stem, kind in COPIES.items():
        packets = tape.read(os.path.join(os.path.dirname(pki.HERE), stem + ".pcap"))
        name = f"{stem}-{kind}.pcap"
        tape.save(name, damaged(stem, packets)[name])
