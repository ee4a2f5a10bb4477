#!/usr/bin/env bash
# Builds Beam's Prism runner in .engines/prism, in the version given, from the Go module proxy, whose
# checksum database vouches for the source. Prism listens on every interface and has no option for
# it: one line of the source is replaced, and it listens on loopback. Nothing to do if it is there.
set -euo pipefail
version=${1:?the version, such as v2.77.0}
cd "$(dirname "$0")/.."
binary=$PWD/.engines/prism/$version/prism
module=github.com/apache/beam/sdks/v2
file=go/pkg/beam/runners/prism/internal/jobservices/server.go

if ! command -v go > /dev/null; then
  echo "prism: skipped, there is no Go here (https://go.dev/dl); tests on Prism will be skipped"
  exit 0
fi
built() { [ -x "$binary" ] && [ -f "$(dirname "$binary")/on-loopback" ]; }
if ! built; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  source=$(cd "$scratch" && go mod download -json "$module@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$source/go.mod" "$source/go.sum" "$source/go" "$scratch"
  chmod -R u+w "$scratch"
  sed -i 's/Listen("tcp", fmt.Sprintf(":%d", port))/Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))/' \
    "$scratch/$file"
  if cmp -s "$source/$file" "$scratch/$file"; then
    echo "prism: $file of $version does not listen where it was expected to" >&2
    exit 1
  fi
  mkdir -p "$(dirname "$binary")"
  (cd "$scratch" && go build -o "$binary" ./go/cmd/prism)
  touch "$(dirname "$binary")/on-loopback"
fi
echo "prism: $version is in $binary, and listens on loopback"
