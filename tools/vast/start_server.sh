#!/bin/bash
# Starts completion-proxy as a Vast.ai worker on a GPU image without Node.
#
# Needs bash, curl, tar, sha256sum and, with USE_SSL=true, openssl. The bundle (index.cjs) lies beside this script, or
# BUNDLE_URL says where it is, with BUNDLE_SHA256 as its checksum. Every other variable is the worker's own (docs/vast.md).
set -uo pipefail

WORKSPACE_DIR="${WORKSPACE_DIR:-/workspace}"
WORKER_PORT="${WORKER_PORT:-3000}"
USE_SSL="${USE_SSL:-true}"
VAST_CERT_FILE="${VAST_CERT_FILE:-/etc/instance.crt}"
VAST_KEY_FILE="${VAST_KEY_FILE:-/etc/instance.key}"
SIGN_CERT_URL="${SIGN_CERT_URL:-https://console.vast.ai/api/v0/sign_cert/}"
NODE_VERSION="24.21.0"
NODE_URL="${NODE_URL:-https://nodejs.org/dist/v$NODE_VERSION}"
export WORKER_PORT USE_SSL VAST_CERT_FILE VAST_KEY_FILE

mkdir -p "$WORKSPACE_DIR"
LOG="$WORKSPACE_DIR/worker.log"
[ -e "$LOG" ] && mv "$LOG" "$LOG.old"
exec > >(tee -a "$LOG") 2>&1

# Tells every address of the autoscaler why there is no worker, until it has heard it or three tries have failed.
report_error() {
  echo "start_server.sh: $1" >&2
  [ -n "${REPORT_ADDR:-}" ] && [ -n "${CONTAINER_ID:-}" ] || return 0
  local text scheme body address
  text=$(printf '%s' "$1" | tr -d '\\"' | tr '\n\r\t' '   ')
  scheme=$([ "$USE_SSL" = true ] && echo https || echo http)
  local public="VAST_TCP_PORT_$WORKER_PORT"
  body=$(printf '{"id":%s,"mtoken":"%s","version":"0.3.0","loadtime":0,"cur_load":0,"rej_load":0,"new_load":0,"error_msg":"%s","max_perf":0,"cur_perf":0,"cur_capacity":0,"max_capacity":0,"num_requests_working":0,"num_requests_recieved":0,"additional_disk_usage":0,"working_request_idxs":[],"url":"%s://%s:%s"}' \
    "$CONTAINER_ID" "${MASTER_TOKEN:-}" "$text" "$scheme" "${PUBLIC_IPADDR:-}" "${!public:-}")
  for address in ${REPORT_ADDR//,/ }; do
    # By stdin: an argument would show the token to everybody who may list processes.
    printf '%s' "$body" | curl -fsS --retry 3 --max-time 10 -H 'Content-Type: application/json' --data-binary @- \
      "${address%/}/worker_status/" >/dev/null && return 0
  done
}

fail() {
  report_error "$1"
  exit 1
}

[ -n "${BACKEND_URL:-${VESPA_BACKEND_URL:-}}" ] || fail "BACKEND_URL is missing"

# The bundle.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
BUNDLE="${BUNDLE_FILE:-$HERE/index.cjs}"
if [ ! -e "$BUNDLE" ]; then
  [ -n "${BUNDLE_URL:-}" ] && [ -n "${BUNDLE_SHA256:-}" ] || fail "there is no $BUNDLE, and no BUNDLE_URL with BUNDLE_SHA256"
  BUNDLE="$WORKSPACE_DIR/index.cjs"
  curl -fsSL --retry 5 -o "$BUNDLE" "$BUNDLE_URL" || fail "the bundle could not be fetched"
  echo "$BUNDLE_SHA256  $BUNDLE" | sha256sum -c --quiet - || fail "the bundle has another checksum than BUNDLE_SHA256"
fi

# Node, of one version, checked against its published checksum; NODE names one that is there already.
NODE="${NODE:-$WORKSPACE_DIR/node-v$NODE_VERSION/bin/node}"
if [ ! -x "$NODE" ]; then
  case "$(uname -m)" in
    x86_64) ARCH=x64 SHA="${NODE_SHA256:-}" ;;
    aarch64) ARCH=arm64 SHA="${NODE_SHA256:-}" ;;
    *) fail "there is no Node for $(uname -m) here" ;;
  esac
  ARCHIVE="node-v$NODE_VERSION-linux-$ARCH.tar.gz"
  FOLDER="$WORKSPACE_DIR/node-v$NODE_VERSION"
  [ -n "$SHA" ] || SHA=$(curl -fsSL --retry 5 "$NODE_URL/SHASUMS256.txt" | awk -v name="$ARCHIVE" '$2 == name { print $1 }')
  [ -n "$SHA" ] || fail "the checksum of $ARCHIVE could not be fetched"
  curl -fsSL --retry 5 -o "$WORKSPACE_DIR/$ARCHIVE" "$NODE_URL/$ARCHIVE" || fail "$ARCHIVE could not be fetched"
  echo "$SHA  $WORKSPACE_DIR/$ARCHIVE" | sha256sum -c --quiet - || fail "$ARCHIVE has another checksum than it should"
  mkdir -p "$FOLDER" && tar -xzf "$WORKSPACE_DIR/$ARCHIVE" -C "$FOLDER" --strip-components=1 || fail "$ARCHIVE could not be unpacked"
  rm -f "$WORKSPACE_DIR/$ARCHIVE"
  NODE="$FOLDER/bin/node"
fi

# The certificate: Vast signs a request for this instance.
if [ "$USE_SSL" = true ] && [ ! -s "$VAST_CERT_FILE" ]; then
  [ -n "${CONTAINER_ID:-}" ] || fail "CONTAINER_ID is missing: without it Vast signs no certificate (or set USE_SSL=false)"
  REQUEST="$(mktemp)" SIGNED="$(mktemp)"
  openssl req -newkey rsa:2048 -nodes -sha256 -subj '/C=US/ST=CA/CN=pyworker.vast.ai/' \
    -addext 'basicConstraints=CA:FALSE' -addext 'subjectAltName=IP:0.0.0.0' \
    -keyout "$VAST_KEY_FILE" -out "$REQUEST" || fail "the certificate request could not be made"
  chmod 600 "$VAST_KEY_FILE"
  curl -fsS --retry 5 --max-time 60 -H 'Content-Type: application/octet-stream' --data-binary "@$REQUEST" \
    -o "$SIGNED" "$SIGN_CERT_URL?instance_id=$CONTAINER_ID" || fail "Vast did not sign the certificate"
  # An error page is no certificate.
  openssl x509 -in "$SIGNED" -noout || fail "what Vast answered is no certificate"
  mv "$SIGNED" "$VAST_CERT_FILE"
fi

cd "$WORKSPACE_DIR" || fail "$WORKSPACE_DIR cannot be entered"
VAST_WORKER=true "$NODE" "$BUNDLE" &
WORKER=$!
trap 'kill -TERM "$WORKER" 2>/dev/null' TERM INT
wait "$WORKER"
CODE=$?
# A trapped signal ends the first wait early; the second has the worker's own code.
if kill -0 "$WORKER" 2>/dev/null; then wait "$WORKER"; CODE=$?; fi
[ "$CODE" -eq 0 ] || report_error "The worker exited: code $CODE"
exit "$CODE"
