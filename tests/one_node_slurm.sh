#!/usr/bin/env bash
# A Slurm of one node on this machine, for trying profiles/slurm: one_node_slurm.sh start | stop. Needs root, and
# Debian's packages: apt-get install slurmctld slurmd slurm-client munge. All that it writes is below
# /tmp/one-node-slurm, but for the link /etc/slurm/slurm.conf, where the commands look.
set -euo pipefail
HOME_OF_IT=/tmp/one-node-slurm
LINK=/etc/slurm/slurm.conf

stop() {
    for daemon in slurmd slurmctld; do
        [ -f "$HOME_OF_IT/$daemon.pid" ] && kill "$(cat "$HOME_OF_IT/$daemon.pid")" 2>/dev/null || true
    done
    [ -f "$HOME_OF_IT/munged.pid" ] && kill "$(cat "$HOME_OF_IT/munged.pid")" 2>/dev/null || true
    sleep 1
    [ "$(readlink "$LINK")" = "$HOME_OF_IT/slurm.conf" ] && rm "$LINK"
    rm -rf "$HOME_OF_IT"
}

start() {
    stop
    [ -e "$LINK" ] && { echo "$LINK is there already: this machine has a Slurm of its own" >&2; exit 1; }
    mkdir -p "$HOME_OF_IT"/{state,spool,munge}
    host=$(hostname -s)
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat > "$HOME_OF_IT/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$HOME_OF_IT/munge/socket
CredType=cred/munge
StateSaveLocation=$HOME_OF_IT/state
SlurmdSpoolDir=$HOME_OF_IT/spool
SlurmctldPidFile=$HOME_OF_IT/slurmctld.pid
SlurmdPidFile=$HOME_OF_IT/slurmd.pid
SlurmctldLogFile=$HOME_OF_IT/slurmctld.log
SlurmdLogFile=$HOME_OF_IT/slurmd.log
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
    ln -s "$HOME_OF_IT/slurm.conf" "$LINK"
    dd if=/dev/urandom of="$HOME_OF_IT/munge/key" bs=128 count=1 status=none
    chmod 700 "$HOME_OF_IT/munge" && chmod 600 "$HOME_OF_IT/munge/key"
    munged --key-file="$HOME_OF_IT/munge/key" --socket="$HOME_OF_IT/munge/socket" --pid-file="$HOME_OF_IT/munged.pid" \
        --log-file="$HOME_OF_IT/munged.log" --seed-file="$HOME_OF_IT/munge/seed" --force
    slurmctld -i
    slurmd
    for _ in $(seq 30); do
        sinfo -h -o %T 2>/dev/null | grep -qE "idle|mixed" && return
        sleep 1
    done
    echo "no idle node after 30 s; see $HOME_OF_IT/*.log" >&2
    exit 1
}

"$1"
