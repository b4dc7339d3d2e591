#!/usr/bin/env bash
# Makes the certificates and keys of the tests, by OpenSSL: bash tests/scripts/make_certificates.sh
# They are of no worth to anyone: the keys are public.
set -euo pipefail
cd "$(dirname "$0")/../data/tls"
rm -f ./*.pem ./*.key
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

cat > "$folder/crl" <<CONFIG
[ca]
default_ca = all
[all]
database = $folder/revoked
crlnumber = $folder/number
CONFIG
touch "$folder/revoked"
echo 01 > "$folder/number"

# The arguments: name, subject, extension, the authority's name, kind of key, last day.
# `openssl ca` takes dates in every version of OpenSSL.
make() {
  local name=$1 subject=$2 extension=$3 authority=$4 kind=$5 end=${6:-21260101}
  case $kind in
    rsa) openssl genrsa -out "$name.key" 2048 2>/dev/null ;;
    ec) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key" ;;
  esac
  openssl req -new -key "$name.key" -subj "$subject" -out "$folder/request"
  local signer=(-cert "$authority.pem" -keyfile "$authority.key")
  [ "$authority" != self ] || signer=(-selfsign -keyfile "$name.key")
  rm -f "$folder"/index*
  touch "$folder/index"
  cat > "$folder/config" <<CONFIG
[ca]
default_ca = all
[all]
database = $folder/index
new_certs_dir = $folder
policy = any
serial = $folder/serial
[any]
countryName = optional
organizationName = optional
commonName = supplied
[extension]
$extension
CONFIG
  openssl ca -batch -notext -preserveDN -rand_serial -md sha256 -config "$folder/config" "${signer[@]}" -in "$folder/request" \
    -out "$name.pem" -startdate 20200101000000Z -enddate "${end}000000Z" -extensions extension 2>"$folder/log" ||
    { cat "$folder/log" >&2; exit 1; }
}

make ca "/CN=Oxicorn test authority" "basicConstraints = critical,CA:TRUE" self ec
make other-ca "/CN=Another authority" "basicConstraints = critical,CA:TRUE" self ec
make server "/CN=localhost" "subjectAltName = DNS:localhost,IP:127.0.0.1" ca ec
make renewed "/CN=localhost" "subjectAltName = DNS:localhost,IP:127.0.0.1" ca ec
make rsa "/CN=wild.example" "subjectAltName = DNS:*.wild.example" ca rsa
make expired "/CN=localhost" "subjectAltName = DNS:localhost" ca ec 20210101
make client "/C=DE/O=Shop, Inc./CN=alice" "extendedKeyUsage = clientAuth" ca ec
make revoked "/CN=eve" "extendedKeyUsage = clientAuth" ca ec
make stranger "/CN=mallory" "extendedKeyUsage = clientAuth" other-ca ec
openssl pkey -in server.key -aes256 -passout pass:secret -out encrypted.key
cat server.pem server.key > both.pem
authority=(-config "$folder/crl" -md sha256 -keyfile ca.key -cert ca.pem)
openssl ca "${authority[@]}" -revoke revoked.pem 2>"$folder/log"
openssl ca "${authority[@]}" -gencrl -crldays 30000 -out "$folder/list" 2>"$folder/log"
cat ca.pem "$folder/list" > ca-and-revoked.pem
rm ca.key other-ca.key
chmod 644 ./*.key
