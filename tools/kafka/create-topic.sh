#!/bin/bash
# create-topic.sh ADDRESS NAME PARTITIONS [setting=value ...]: create a topic with Kafka's own tool.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
address=$1 name=$2 partitions=$3
shift 3
lib=$("$here/fetch.sh")
settings=()
for setting; do settings+=(--config "$setting"); done
create() {
  java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$lib/*" \
    org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" --create --topic "$name" \
    --partitions "$partitions" --replication-factor 1 "${settings[@]}" 2>&1 | grep -v '^ERROR StatusLogger'
}
# A broker on a busy machine that was late to greet its controller takes none for a moment ("fenced").
give_up=$((SECONDS + 60))
until said=$(create); do
  [[ $said == *fenced* ]] && [ $SECONDS -lt $give_up ] || { echo "$said" >&2; exit 1; }
done
echo "$said"
