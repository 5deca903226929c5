#!/bin/bash
# share-classes.sh LIB: make sure that an archive of the broker's loaded classes lies beside LIB, and
# print its name. With it a broker starts with half of the CPU time (3.3 s in place of 6.7).
#
# It is what a broker had loaded that was started and stopped for it, once for each Java. Prints
# nothing if it cannot be made: brokers then start as they would without.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lib=${1:?usage: share-classes.sh LIB}
[ -z "${WEIR_KAFKA_SHARING:-}" ] || exit 0 # the broker that it is made from
java=$(readlink -f "$(command -v java)")
archive=$(dirname "$lib")/classes-$(md5sum "$java" "${java%/bin/java}/release" 2> /dev/null | md5sum | head -c 8).jsa
if [ ! -e "$archive" ]; then
  exec 9> "$archive.lock"
  flock 9 # several tests may start their first broker at once
fi
if [ ! -e "$archive" ]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  export WEIR_KAFKA_SHARING=1 WEIR_KAFKA_OPTIONS= WEIR_KAFKA_HEAP=512m
  if WEIR_KAFKA_JVM="-XX:ArchiveClassesAtExit=$dir/classes.jsa" "$here/start.sh" "$dir/broker" > /dev/null 9>&- &&
    "$here/stop.sh" "$dir/broker" > /dev/null && [ -s "$dir/classes.jsa" ]; then
    mv "$dir/classes.jsa" "$archive.new" && mv "$archive.new" "$archive"
  else
    echo "share-classes.sh: no archive of the broker's classes could be made; it starts slower without" >&2
    exit 0
  fi
fi
echo "$archive"
