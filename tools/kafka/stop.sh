#!/bin/bash
# stop.sh DIR [--kill]: stop the broker that start.sh runs on DIR and wait until it is gone; --kill
# means SIGKILL, so that it leaves what a crash leaves. The data stay.
set -euo pipefail
dir=${1:?usage: stop.sh DIR [--kill]}
[ -e "$dir/pid" ] || { echo "stop.sh: no broker runs on $dir" >&2; exit 1; }
pid=$(cat "$dir/pid")
kill "$([ "${2:-}" = --kill ] && echo -KILL || echo -TERM)" "$pid" 2> /dev/null || true
for _ in $(seq 300); do
  kill -0 "$pid" 2> /dev/null || { rm -f "$dir/pid"; exit 0; }
  sleep 0.1
done
echo "stop.sh: the broker (pid $pid) did not end within 30 s; killing it" >&2
kill -KILL "$pid" 2> /dev/null || true
rm -f "$dir/pid"
