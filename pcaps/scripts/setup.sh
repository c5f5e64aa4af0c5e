#!/bin/sh
# Installs on Debian 12 (as root) the tools that the capture scripts call. The only script here that installs anything.
# mitmproxy comes from PyPI, into a virtual environment: setup.sh [FOLDER].
set -eu
venv="${1:-/opt/mitm}"
apt-get install -y --no-install-recommends openssl gnutls-bin nginx-light curl tcpdump tshark iproute2 procps util-linux \
    default-jdk-headless squid-openssl sslsplit bettercap python3 python3-venv python3-pip
python3 -m venv "$venv"
"$venv/bin/pip" install mitmproxy==11.0.2
# The scripts themselves need a recent `cryptography` (42 or later) in the Python that runs them:
"$venv/bin/pip" install 'cryptography>=42'
echo "now: MITMDUMP=$venv/bin/mitmdump PYTHON=$venv/bin/python3 ./make_all.sh"
