#!/usr/bin/env bash
# Builds Beam's Prism runner in .engines/prism, in the version given, from the Go module proxy, whose
# checksum database vouches for the source. Nothing to do if it is there.
set -euo pipefail
version=${1:?the version, such as v2.77.0}
cd "$(dirname "$0")/.."
binary=$PWD/.engines/prism/$version/prism

if ! command -v go > /dev/null; then
  echo "prism: skipped, there is no Go here (https://go.dev/dl); tests on Prism will be skipped"
  exit 0
fi
built() { go version -m "$binary" 2> /dev/null | grep -q "mod[[:space:]]github.com/apache/beam/sdks/v2[[:space:]]$version[[:space:]]"; }
if ! built; then
  GOBIN=$(dirname "$binary") go install "github.com/apache/beam/sdks/v2/go/cmd/prism@$version"
  built
fi
echo "prism: $version is in $binary"
