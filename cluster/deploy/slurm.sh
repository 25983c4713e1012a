#!/usr/bin/env bash
# A sweep as a Slurm job: a Ray cluster on the allocation, guarded by a token of its own, and a driver on its first node.
#
#   sbatch slurm.sh SWEEP.yaml /shared/sweep
#
# Submit it from a shell in which `foretune` and `ray` are found (a virtual environment that all nodes see). Ten minutes
# before the time limit the driver drains and the job goes back to the queue; the next time it continues. `scancel` with
# --signal=TERM --batch, or `foretune stop /shared/sweep`, drains and ends. Set what your cluster and sweep need:
#SBATCH --job-name=foretune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Longer than the sweep's longest epoch, which a drain waits for:
#SBATCH --signal=B:USR1@600
##SBATCH --gpus-per-node=4
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: sbatch slurm.sh SWEEP.yaml ROOT, where ROOT is on storage that all nodes see" >&2
  exit 2
fi
sweep=$1 root=$2
cpus=${SLURM_CPUS_PER_TASK:?set --cpus-per-task: a Ray node has as many CPUs}

# The token goes to the nodes in srun's environment: it stands in no file and on no command line.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
# Short, as sockets' paths must be, and of this job alone.
export RAY_TMPDIR=/tmp/ft-$SLURM_JOB_ID
# Of this job alone, and below the ports that the kernel hands out.
port=$((20000 + 2 * (SLURM_JOB_ID % 5000)))

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
steps=() driver='' requeue=no signals=0

on_node() {  # NODE COMMAND...: a step there, in the background
  srun --nodes=1 --ntasks=1 --nodelist="$1" --cpus-per-task="$cpus" "${@:2}" </dev/null &
  steps+=($!)
}
ray_node() {  # NODE OPTIONS...: a Ray node there
  on_node "$1" ray start --block --num-cpus="$cpus" --min-worker-port=0 --max-worker-port=0 \
    --dashboard-agent-listen-port=0 "${@:2}"
}
drain() {
  signals=$((signals + 1))
  [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null || true
}
end_ray() {
  trap '' TERM USR1
  [ ${#steps[@]} -eq 0 ] || kill -TERM "${steps[@]}" 2>/dev/null || true
  wait || true
}
trap 'requeue=yes; drain' USR1
trap drain TERM
trap end_ray EXIT

# Where a node takes its own name for a loopback address, ask for another here (hostname --all-ip-addresses).
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address </dev/null)
head_ip=${head_ip%% *}
address=$head_ip:$port
ray_node "${nodes[0]}" --head --node-ip-address="$head_ip" --port="$port" --ray-client-server-port=$((port + 1)) \
  --include-dashboard=false
until (exec 3<>"/dev/tcp/$head_ip/$port") 2>/dev/null; do
  kill -0 "${steps[0]}" 2>/dev/null || { echo "Ray's head did not start on ${nodes[0]}; see above" >&2; exit 1; }
  [ "$signals" -eq 0 ] || exit 3
  sleep 1
done
for node in "${nodes[@]:1}"; do
  ray_node "$node" --address="$address"
done

foretune doctor --root "$root" --address "$address" || echo "slurm.sh: going on all the same" >&2

# `run` begins the sweep or continues it, and takes in nodes as they join.
code=3
if [ "$signals" -eq 0 ]; then
  foretune run "$sweep" --root "$root" --address "$address" &
  driver=$!
  [ "$signals" -eq 0 ] || kill -TERM "$driver"
  while :; do
    code=0
    wait "$driver" || code=$?
    # A signal cuts the wait short; the driver is still draining then.
    [ "$code" -gt 128 ] && kill -0 "$driver" 2>/dev/null || break
  done
  # Told to stop before it listened, it has begun nothing.
  [ "$code" -ne 143 ] || code=3
fi

end_ray
if [ "$requeue" = yes ] && [ "$code" -eq 3 ]; then
  echo "slurm.sh: back to the queue; the sweep goes on when the job does"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
