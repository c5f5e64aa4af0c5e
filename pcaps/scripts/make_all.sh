#!/bin/sh
# Makes every capture anew (root, Linux with network namespaces; about five minutes) and then the README.
# The result is equivalent, not identical: keys, random numbers, ports and times differ.
set -eu
cd "$(dirname "$0")"
timeout 600 python3 handshakes.py
timeout 600 python3 intercept.py
timeout 600 python3 benign.py
python3 copies.py
python3 readme.py
