#!/usr/bin/env bash
# A Slurm of one node on this machine, for trying profiles/slurm: one_node_slurm.sh start | stop. Needs root, and
# Debian's packages: apt-get install slurmctld slurmd slurm-client munge. All that it writes is below $SLURM_HOME, but
# for the link /etc/slurm/slurm.conf, where the commands look.
set -euo pipefail
SLURM_HOME=${SLURM_HOME:-/tmp/one-node-slurm}
LINK=/etc/slurm/slurm.conf

stop() {
    for daemon in slurmd slurmctld; do
        [ -f "$SLURM_HOME/$daemon.pid" ] && kill "$(cat "$SLURM_HOME/$daemon.pid")" 2>/dev/null || true
    done
    [ -f "$SLURM_HOME/munged.pid" ] && kill "$(cat "$SLURM_HOME/munged.pid")" 2>/dev/null || true
    sleep 1
    [ -L "$LINK" ] && rm "$LINK"
    rm -rf "$SLURM_HOME"
}

start() {
    stop
    [ -e "$LINK" ] && { echo "$LINK is there already: this machine has a Slurm of its own" >&2; exit 1; }
    mkdir -p "$SLURM_HOME"/{state,spool,munge}
    host=$(hostname -s)
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat > "$SLURM_HOME/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$SLURM_HOME/munge/socket
CredType=cred/munge
StateSaveLocation=$SLURM_HOME/state
SlurmdSpoolDir=$SLURM_HOME/spool
SlurmctldPidFile=$SLURM_HOME/slurmctld.pid
SlurmdPidFile=$SLURM_HOME/slurmd.pid
SlurmctldLogFile=$SLURM_HOME/slurmctld.log
SlurmdLogFile=$SLURM_HOME/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
MinJobAge=3600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    ln -s "$SLURM_HOME/slurm.conf" "$LINK"
    dd if=/dev/urandom of="$SLURM_HOME/munge/key" bs=128 count=1 status=none
    chmod 700 "$SLURM_HOME/munge" && chmod 600 "$SLURM_HOME/munge/key"
    munged --key-file="$SLURM_HOME/munge/key" --socket="$SLURM_HOME/munge/socket" --pid-file="$SLURM_HOME/munged.pid" \
        --log-file="$SLURM_HOME/munged.log" --seed-file="$SLURM_HOME/munge/seed" --force
    slurmctld -i
    slurmd
    for _ in $(seq 30); do
        sinfo -h -o %T 2>/dev/null | grep -qE "idle|mixed" && return
        sleep 1
    done
    echo "no idle node after 30 s; see $SLURM_HOME/*.log" >&2
    exit 1
}

"$1"
