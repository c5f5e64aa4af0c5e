#!/bin/sh
# Makes the certificates of this folder with the openssl command line tool (3.0). Keys are thrown away.
# usage: ./make.sh   (in this folder)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$(pwd)
cat > "$work/c.cnf" <<'CNF'
[req]
distinguished_name = dn
prompt = no
[dn]
C = DE
O = Test Widgets
CN = host.example
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
subjectAltName = DNS:host.example,DNS:*.wild.example,IP:192.0.2.1,IP:2001:db8::1,email:a@host.example,URI:https://host.example/,RID:1.2.3.4,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:user@host,dirName:dirsect
authorityInfoAccess = OCSP;URI:http://ocsp.example/,caIssuers;URI:http://ca.example/ca.der
crlDistributionPoints = URI:http://crl.example/a.crl,URI:http://crl.example/b.crl
certificatePolicies = 2.23.140.1.2.2,1.2.3.4.5
tlsfeature = status_request
[dirsect]
CN = Directory Name
O = Widgets, Inc.
[ca]
basicConstraints = critical,CA:TRUE,pathlen:1
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
nameConstraints = permitted;DNS:example,permitted;IP:192.0.2.0/255.255.255.0,excluded;DNS:bad.example,excluded;dirName:dirsect
[plain]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
CNF
# self NAME SECTION KEY-OPTIONS.. -- SIGN-OPTIONS..
self() {
    name=$1 section=$2
    shift 2
    keyopts=
    while [ "$1" != -- ]; do keyopts="$keyopts $1"; shift; done
    shift
    openssl genpkey $keyopts -out "$work/$name.key" 2>/dev/null
    openssl req -x509 -new -key "$work/$name.key" -config "$work/c.cnf" -extensions "$section" -days 3650 \
        -set_serial 0x1234 "$@" -outform DER -out "$out/$name.der" 2>/dev/null || echo "failed: $name"
}
rsa() { echo "-algorithm RSA -pkeyopt rsa_keygen_bits:$1"; }
self full leaf $(rsa 2048) -- -sha256
self ca ca $(rsa 2048) -- -sha256
self rsa512-md5 plain $(rsa 512) -- -md5
self rsa512-sha1 plain $(rsa 512) -- -sha1
self rsa1024-md5 plain $(rsa 1024) -- -md5
self rsa1024-sha1 plain $(rsa 1024) -- -sha1
self rsa1024-sha256 plain $(rsa 1024) -- -sha256
self rsa1024-sha512 plain $(rsa 1024) -- -sha512
self rsa1031-sha256 plain $(rsa 1031) -- -sha256
self rsa2048-md5 plain $(rsa 2048) -- -md5
self rsa2048-sha1 plain $(rsa 2048) -- -sha1
self rsa2048-sha224 plain $(rsa 2048) -- -sha224
self rsa2048-sha384 plain $(rsa 2048) -- -sha384
self rsa2048-sha512 plain $(rsa 2048) -- -sha512
self rsa8192-sha256 plain $(rsa 8192) -- -sha256
self rsa-e3 plain $(rsa 2048) -pkeyopt rsa_keygen_pubexp:3 -- -sha256
self rsa-big-e plain $(rsa 2048) -pkeyopt rsa_keygen_pubexp:1099511627791 -- -sha256
for hash in sha1 sha256 sha384 sha512; do
    self pss-$hash plain $(rsa 2048) -- -$hash -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
done
self pss-digestsalt plain $(rsa 2048) -- -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
self pss-1025 plain $(rsa 1025) -- -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
self pss-mgf1-sha1 plain $(rsa 2048) -- -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha1
self psskey plain -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -- -sha256
for curve in P-256 P-384 P-521; do
    for hash in sha1 sha224 sha256 sha384 sha512; do
        self ec-$curve-$hash plain -algorithm EC -pkeyopt ec_paramgen_curve:$curve -- -$hash
    done
done
self ec-secp256k1 plain -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -- -sha256
self ec-explicit plain -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit -- -sha256
self ed25519 plain -algorithm ED25519 --
self ed448 plain -algorithm ED448 --
openssl dsaparam -out "$work/dsa.pem" 2048 2>/dev/null
openssl gendsa -out "$work/dsa.key" "$work/dsa.pem" 2>/dev/null
openssl req -x509 -new -key "$work/dsa.key" -config "$work/c.cnf" -extensions plain -days 3650 -set_serial 5 -sha256 \
    -outform DER -out "$out/dsa.der" 2>/dev/null
# Version 1, a negative serial, many attributes and string types.
openssl req -new -key "$work/rsa1024-sha256.key" -config "$work/c.cnf" -out "$work/v1.csr"
openssl x509 -req -in "$work/v1.csr" -signkey "$work/rsa1024-sha256.key" -sha256 -days 3650 -set_serial -5 -outform DER \
    -out "$out/v1-negative-serial.der" 2>/dev/null
cat > "$work/odd.cnf" <<'CNF'
[req]
distinguished_name = dn
prompt = no
string_mask = MASK:0x800
utf8 = yes
[dn]
0.CN = first.example
1.CN = Größe, "A+B" <x>; #y
0.OU = one
1.OU = two
emailAddress = admin@host.example
UID = user7
DC = corp
serialNumber = HRB 123
CNF
openssl req -x509 -new -key "$work/rsa1024-sha256.key" -config "$work/odd.cnf" -days 3650 -set_serial 0 -utf8 \
    -outform DER -out "$out/names-bmp.der" 2>/dev/null || echo "failed: names-bmp"
