#!/bin/sh
# Makes every capture anew (root, Linux with network namespaces; about ten minutes) and then the README.
# The result is equivalent, not identical: keys, random numbers, ports and times differ.
set -eu
cd "$(dirname "$0")"
python="${PYTHON:-python3}"   # one with `cryptography` 42 or later: setup.sh makes one
timeout 600 "$python" handshakes.py
timeout 600 "$python" intercept.py
timeout 600 "$python" misuse.py
timeout 600 "$python" benign.py
"$python" copies.py
"$python" readme.py
