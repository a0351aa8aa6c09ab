#!/bin/sh
# Three nodes on one machine: a head, one that scores, and one that plays the device. Ends them on Ctrl-C.
#   sh examples/cluster/local.sh          # in one terminal
#   netwright search --config examples/cluster/run.yaml --out runs/cluster          # in another, with the same token
set -eu
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
: "${RAY_AUTH_TOKEN:?give every terminal the same one: export RAY_AUTH_TOKEN=\$(openssl rand -hex 32)}"
export RAY_AUTH_TOKEN
port=${PORT:-6379}
nodes=
logs=$(mktemp -d)
trap 'kill $nodes 2>/dev/null || true; wait; rm -r "$logs"' EXIT  # these nodes only; `ray stop` would end all others, too
trap 'exit 0' INT TERM

# One after the other: nodes that start at the same moment on one machine take each other's ports.
node() {
  log=$logs/$1
  shift
  ray start --block --object-store-memory=100000000 "$@" > "$log" 2>&1 &
  nodes="$nodes $!"
  until grep -q "Ray runtime started" "$log"; do
    kill -0 $! 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.5
  done
}

node head --head --port="$port" --num-cpus=1 --include-dashboard=false
node scores --address="127.0.0.1:$port" --num-cpus=1
RAY_worker_niceness=0 node device --address="127.0.0.1:$port" --num-cpus=0 --resources='{"device:pi": 1}'
echo "three nodes at 127.0.0.1:$port; Ctrl-C ends them"
wait
