#!/usr/bin/env bash
# A SLURM cluster of two nodes, both on this machine, as root and without systemd:
#   slurm.sh install            Debian's or Ubuntu's packages, where they are missing
#   slurm.sh start FOLDER       the daemons, with everything they write in FOLDER; prints the variables to export
#   slurm.sh stop FOLDER        ends them
set -euo pipefail

install() {
    command -v slurmctld slurmd munged sbatch squeue >/dev/null && return
    command -v apt-get >/dev/null || { echo 'SLURM is not installed, and there is no apt-get to install it' >&2; exit 1; }
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends slurm-wlm munge
}

# A daemon that does not come up in a minute is broken, not slow.
wait_for() {
    for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    echo "slurm.sh: waited in vain for: $*" >&2
    tail -n 20 "$folder"/*.log >&2 || true
    exit 1
}

start() {
    mkdir -p "$folder"/{state,spool/one,spool/two}
    chmod 755 "$folder"
    # munged insists on folders that only its user can write, up to the root; /run is one.
    local munge=/run/aevb-munge
    mkdir -p -m 755 "$munge"
    ( umask 077; head -c 128 /dev/urandom >"$munge/key" )
    munged --key-file="$munge/key" --socket="$munge/socket" --pid-file="$munge/pid" --seed-file="$munge/seed" \
        --log-file="$munge/log" --force
    wait_for test -S "$munge/socket"

    local ctld_port one_port two_port
    read -r ctld_port one_port two_port < <(python3 - <<'PY'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))
PY
    )
    local both="NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 RealMemory=65536 State=UNKNOWN"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=20
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
SlurmdParameters=config_overrides
NodeName=one Port=$one_port $both
NodeName=two Port=$two_port $both
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
    export SLURM_CONF=$folder/slurm.conf
    slurmctld -c -f "$SLURM_CONF"
    slurmd -c -f "$SLURM_CONF" -N one
    slurmd -c -f "$SLURM_CONF" -N two
    wait_for sh -c '[ "$(sinfo -h -N -o %T | grep -cx idle)" = 2 ]'
    echo "SLURM_CONF=$SLURM_CONF"
}

stop() {
    for pid in "$folder"/slurmctld.pid "$folder"/slurmd-*.pid /run/aevb-munge/pid; do
        [[ -s $pid ]] || continue
        number=$(cat "$pid")
        kill "$number" 2>/dev/null || continue
        for _ in $(seq 100); do kill -0 "$number" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$number" 2>/dev/null || true
    done
    rm -rf /run/aevb-munge
}

folder=${2:-}
case ${1:-} in
install) install ;;
start | stop) [[ -n $folder ]] || { echo "usage: slurm.sh $1 FOLDER" >&2; exit 2; }; "$1" ;;
*) sed -n '2,5p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
