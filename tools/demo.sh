#!/bin/bash
# demo.sh [BUILD_DIR]: a local cluster of one JobManager and two TaskManagers, with the hot-items job
# on it: results and a line of figures in this terminal until Ctrl-C, which ends job and cluster.
#
# DEMO_ARGS  arguments of the job, for example "--rate 500000" (examples/hot_items)
#
# Ends with 0 after Ctrl-C, with 130 if that came before the job ran, with 1 if the cluster ended by
# itself, else as `weir run` does (docs/cli.md).
#
# Job and cluster get process groups of their own, so that one Ctrl-C reaches this script alone and
# it can end them in order; should the script itself be killed, the kernel ends them for it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}
weir=$build/bin/weir
job=$build/examples/libhot_items.so
[ -x "$weir" ] && [ -e "$job" ] ||
  { echo "demo.sh: $weir or $job is missing; run \`make demo\`" >&2; exit 2; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/weir-demo.XXXXXX")
export WEIR_LOCAL_DIR=$dir
cluster= run= stopping=
finish() {
  trap '' INT TERM HUP
  [ -z "$cluster" ] || { kill -TERM "$cluster" 2> /dev/null && wait "$cluster" || true; }
  rm -rf "$dir"
}
trap finish EXIT
stop() {
  stopping=1
  [ -z "$run" ] || kill -INT "$run" 2> /dev/null || true
}
trap stop INT TERM HUP

own_group() { exec setpriv --pdeathsig TERM setsid "$@"; }

own_group "$weir" local --task-managers 2 > "$dir/announcement" 2>&1 &
cluster=$!
until grep -q '^Cluster ready' "$dir/announcement"; do
  [ -z "$stopping" ] || exit 130
  if ! kill -0 "$cluster" 2> /dev/null; then
    cat "$dir/announcement" >&2
    exit 1
  fi
  sleep 0.02
done
grep -v '^Submit jobs' "$dir/announcement"
cat <<TEXT
Look at it   WEIR_LOCAL_DIR=$dir $weir list    (or status, describe JOB, logs)

Bids per auction in the last ten seconds of event time, every two seconds, the most:
TEXT

# The line of figures below the results is drawn by \`weir run\`.
own_group "$weir" run "$job" --parallelism 2 -- ${DEMO_ARGS:-} &
run=$!
[ -z "$stopping" ] || kill -INT "$run" 2> /dev/null || true
code=0
dead=
while kill -0 "$run" 2> /dev/null; do
  code=0
  wait -n "$run" ${dead:-"$cluster"} || code=$?
  # A cluster that is gone takes the demonstration with it: nobody would start it again.
  if [ -z "$dead" ] && [ -z "$stopping" ] && ! kill -0 "$cluster" 2> /dev/null; then
    dead=$run
    echo "demo.sh: the cluster ended by itself; what it said:" >&2
    tail -n 20 "$dir/announcement" >&2
    kill -KILL "$run" 2> /dev/null || true
  fi
done
run=
[ -z "$dead" ] || { cluster=; exit 1; }
[ -n "$stopping" ] && [ "$code" -eq 5 ] && code=0 # cancelled, as asked
exit "$code"
