#!/usr/bin/env bash
# Builds Beam's Prism runner in .engines/prism, in the version given, from the Go module proxy, whose
# checksum database vouches for the source. Two lines of it are replaced, for which Prism has no
# options. It listens on every interface: here on loopback. And while a Beam bundle has given out all
# of its data and not ended, it asks without a pause whether there is more (a closed channel in a
# `select`), which takes a core from the workers: here it waits. Nothing to do if it is there.
set -euo pipefail
version=${1:?the version, such as v2.77.0}
cd "$(dirname "$0")/.."
binary=$PWD/.engines/prism/$version/prism
module=github.com/apache/beam/sdks/v2
internal=go/pkg/beam/runners/prism/internal

if ! command -v go > /dev/null; then
  echo "prism: skipped, there is no Go here (https://go.dev/dl); tests on Prism will be skipped"
  exit 0
fi
built() { [ -x "$binary" ] && [ -f "$(dirname "$binary")/on-loopback" ] && [ -f "$(dirname "$binary")/waits" ]; }
if ! built; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  source=$(cd "$scratch" && go mod download -json "$module@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$source/go.mod" "$source/go.sum" "$source/go" "$scratch"
  chmod -R u+w "$scratch"
  replace() {
    sed -i "$2" "$scratch/$internal/$1"
    if cmp -s "$source/$internal/$1" "$scratch/$internal/$1"; then
      echo "prism: $1 of $version is not as expected: it $3" >&2
      exit 1
    fi
  }
  replace jobservices/server.go \
    's/Listen("tcp", fmt.Sprintf(":%d", port))/Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))/' \
    "does not listen where it did"
  replace stage.go \
    '/case <-dataReady:/{n;s/dataFinished = true/dataFinished, dataReady = true, nil/}' \
    "does not wait for a bundle's data where it did"
  mkdir -p "$(dirname "$binary")"
  (cd "$scratch" && go build -o "$binary" ./go/cmd/prism)
  touch "$(dirname "$binary")/on-loopback" "$(dirname "$binary")/waits"
fi
echo "prism: $version is in $binary, and listens on loopback"
