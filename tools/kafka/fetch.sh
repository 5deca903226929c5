#!/bin/bash
# fetch.sh: make sure that Kafka's jars are in the cache, and print the directory that holds them.
#
# The cache is $WEIR_KAFKA_HOME, by default ~/.cache/weir/kafka-VERSION. The jars come from the
# Maven repository that ~/.m2/settings.xml names (Maven Central otherwise), about 54 MB, once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")
home=${WEIR_KAFKA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/weir/kafka-$version}
mkdir -p "$home"

exec 9> "$home/lock"
flock 9 # several test binaries may ask for the jars at once
if [ ! -e "$home/complete" ]; then
  command -v java > /dev/null || { echo "fetch.sh: java is not installed (Debian: openjdk-17-jre-headless)" >&2; exit 1; }
  command -v mvn > /dev/null || { echo "fetch.sh: mvn is not installed (Debian: maven)" >&2; exit 1; }
  rm -rf "$home/lib"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$home/lib" >&2 || { echo "fetch.sh: Maven could not fetch Kafka $version" >&2; exit 1; }
  touch "$home/complete"
fi
echo "$home/lib"
