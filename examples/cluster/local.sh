#!/bin/sh
# Three nodes on one machine: a head, one that scores, and one that plays the device. Ends them on Ctrl-C.
#   sh examples/cluster/local.sh          # in one terminal
#   netwright search --config examples/cluster/run.yaml --out runs/cluster          # in another, with the same token
set -eu
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
: "${RAY_AUTH_TOKEN:?give every terminal the same one: export RAY_AUTH_TOKEN=\$(openssl rand -hex 32)}"
export RAY_AUTH_TOKEN
store=--object-store-memory=100000000
ray start --head --port=6379 --num-cpus=1 --include-dashboard=false "$store"
ray start --address=127.0.0.1:6379 --num-cpus=1 "$store" --block &
scores=$!
RAY_worker_niceness=0 ray start --address=127.0.0.1:6379 --num-cpus=0 --resources='{"device:pi": 1}' "$store" --block &
device=$!
trap 'kill $scores $device 2>/dev/null; ray stop' INT TERM
wait
