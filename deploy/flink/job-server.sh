#!/usr/bin/env bash
# Assembles the class path of Beam's Flink job server in .engines/flink from Maven Central, by the
# versions of pom.xml, and checks every jar against jars.sha256. Beam's servers listen on every
# interface; on-loopback/, which goes before the jars, has the class that starts them, rewritten
# (OnLoopback.java). Nothing to do if they are there.
# `WRITE_SUMS=1` writes jars.sha256 anew after a change of versions; review the diff.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
jars=$here/../../.engines/flink

for tool in java mvn; do
  if ! command -v "$tool" > /dev/null; then
    echo "flink: skipped, there is no $tool here (Java 11 or 17 and Maven 3.8 are needed); tests on Flink will be skipped"
    exit 0
  fi
done
check() { (cd "$jars" && sha256sum --check --quiet --strict "$here/jars.sha256"); }
patch() { java -cp "$jars/*" "$here/OnLoopback.java" "$jars/on-loopback"; }
if [ ! -d "$jars" ] || [ -n "${WRITE_SUMS:-}" ] || ! check 2> /dev/null; then
  rm -rf "$jars"
  mvn --batch-mode --quiet --file "$here/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DoutputDirectory="$jars" -DincludeScope=runtime
  if [ -n "${WRITE_SUMS:-}" ]; then
    (cd "$jars" && LC_ALL=C sha256sum -- *.jar) > "$here/jars.sha256"
  fi
  check
fi
[ -d "$jars/on-loopback" ] || patch
echo "flink: $(find "$jars" -name '*.jar' | wc -l) jars are in .engines/flink and as expected"
