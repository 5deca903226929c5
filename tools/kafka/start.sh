#!/bin/bash
# start.sh DIR [--port N] [--foreground]: run one Kafka broker (KRaft, also its own controller) on
# 127.0.0.1 and print its address when it answers metadata requests.
#
# All its files live in DIR. A DIR that was used before is started again with its data, on its old
# port unless somebody else listens there now, whether it was stopped by stop.sh or by kill -9.
# Without --port two free ports are chosen
# below the ephemeral range: there, a client that keeps reconnecting to a dead broker could
# otherwise be given the broker's own port as its source port, and connect to itself.
#
# --foreground becomes the broker instead of waiting for it (whoever started us owns it and asks
#   for its readiness itself; DIR/port holds the port).
# WEIR_KAFKA_HEAP     the broker's heap, default 512m
# WEIR_KAFKA_OPTIONS  more broker settings, one name=value per line
# WEIR_KAFKA_JVM      more options of the Java machine
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }

dir= port= foreground=
while [ $# -gt 0 ]; do
  case $1 in
    --port) port=${2:?}; shift ;;
    --foreground) foreground=1 ;;
    -*) usage ;;
    *) [ -z "$dir" ] || usage; dir=$1 ;;
  esac
  shift
done
[ -n "$dir" ] || usage
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if [ -e "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null; then
  echo "start.sh: a broker (pid $(cat "$dir/pid")) already runs on $dir; stop it with stop.sh" >&2
  exit 1
fi
lib=$("$here/fetch.sh")
classes=$("$here/share-classes.sh" "$lib")

listening() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
taken() { listening "$1" || listening $(($1 + 1)); }
choose_port() {
  local candidate
  while :; do
    candidate=$((10000 + (RANDOM * 32768 + RANDOM) % 11000 * 2))
    taken "$candidate" || { echo "$candidate"; return; }
  done
}
if [ -z "$port" ]; then
  port=$(cat "$dir/port" 2> /dev/null || true)
  [ -n "$port" ] && ! taken "$port" || port=$(choose_port)
fi
echo "$port" > "$dir/port"

# The controller listens next to the clients' port. One partition leader, so replication is 1;
# small internal topics and no rebalance delay, since tests create them again and again; and a short
# broker session, because a broker killed hard is let in again only when its old session is over.
# Nothing is deleted for its age: records bear event times of tests, long ago, and the broker would
# begin to delete them half a minute after its start.
cat > "$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=CLIENTS://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=CLIENTS://127.0.0.1:$port
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=4194304
${WEIR_KAFKA_OPTIONS:-}
P
cat > "$dir/log4j2.yaml" <<L
Configuration:
  Appenders:
    Console: {name: out, PatternLayout: {pattern: "%d %p %c{1} %m%n"}}
  Loggers:
    Root: {level: INFO, AppenderRef: {ref: out}}
L
if [ ! -e "$dir/data/meta.properties" ]; then
  java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$lib/*" \
    -Dlog4j2.configurationFile="$dir/log4j2.yaml" kafka.tools.StorageTool format \
    -t "$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=')" \
    -c "$dir/server.properties" > "$dir/format.log" 2>&1 ||
    { echo "start.sh: formatting $dir/data failed:" >&2; tail -5 "$dir/format.log" >&2; exit 1; }
fi

heap=${WEIR_KAFKA_HEAP:-512m}
# shellcheck disable=SC2206  # options are words
more=(${classes:+-XX:SharedArchiveFile="$classes"} ${WEIR_KAFKA_JVM:-})
broker=(java "${more[@]}" -Xms128m -Xmx"$heap" -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData
  -Djava.awt.headless=true -Dlog4j2.configurationFile="$dir/log4j2.yaml"
  -cp "$lib/*" kafka.Kafka "$dir/server.properties")
if [ -n "$foreground" ]; then
  echo $$ > "$dir/pid"
  exec "${broker[@]}" >> "$dir/server.log" 2>&1 < /dev/null
fi
setsid "${broker[@]}" >> "$dir/server.log" 2>&1 < /dev/null &
pid=$!
echo "$pid" > "$dir/pid"
for _ in $(seq 300); do
  if kcat -b "127.0.0.1:$port" -L -J -m 1 2> /dev/null | grep -q '"brokers":\[{"id":1'; then
    echo "127.0.0.1:$port"
    exit 0
  fi
  kill -0 "$pid" 2> /dev/null ||
    { echo "start.sh: the broker died; the end of $dir/server.log:" >&2; tail -5 "$dir/server.log" >&2; exit 1; }
  sleep 0.2
done
echo "start.sh: no metadata from 127.0.0.1:$port within 60 s, see $dir/server.log" >&2
exit 1
