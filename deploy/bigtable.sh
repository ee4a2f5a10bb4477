#!/usr/bin/env bash
# Builds Google's emulator of Bigtable in .engines/bigtable, in the version given, from the Go module
# proxy, whose checksum database vouches for the source. Nothing to do if it is there.
set -euo pipefail
version=${1:?the version, such as v1.33.0}
cd "$(dirname "$0")/.."
folder=$PWD/.engines/bigtable/$version

if ! command -v go > /dev/null; then
  echo "bigtable: skipped, there is no Go here (https://go.dev/dl); tests on it will be skipped"
  exit 0
fi
if [ ! -x "$folder/emulator" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  (cd "$scratch" && GOBIN="$folder" go install "cloud.google.com/go/bigtable/cmd/emulator@$version")
fi
echo "bigtable: $version is in $folder"
