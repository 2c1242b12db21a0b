# shellcheck shell=bash disable=SC2154
# (root, here and interfaces come from tune.)
# What each setting should be: calls `setting` for each of them, and `file` for what makes them last. Sourced by tune.
#
#   sysctl.d/90-tidegate.conf --> every "key = value", compared as the "#:" above it says
#   memory of the box ----------> tcp_mem, conntrack's sizes
#   interfaces and cores -------> RPS, RFS, XPS, interrupts

# Entries of connection tracking at most, and bytes of each with its share of the hash table.
CONNTRACK_ENTRIES_MAX=2097152
CONNTRACK_ENTRY_BYTES=320
# As many flows are told apart as net.core.rps_sock_flow_entries says, over the queues of an interface.
FLOW_ENTRIES=32768

wanted() {
    local relation key value interface
    while IFS='|' read -r relation key value; do
        setting "$relation" "proc/sys/${key//.//}" "$value"
    done < <(sysctls <"$here/sysctl.d/90-tidegate.conf" && memory_sysctls | sysctls)
    read_cores
    for interface in $(chosen_interfaces); do
        interface_queues "$interface"
        interface_interrupts "$interface"
    done
    file etc/sysctl.d/90-tidegate.conf < <(cat "$here/sysctl.d/90-tidegate.conf" <(memory_sysctls))
    file etc/security/limits.d/90-tidegate.conf <"$here/limits.d/90-tidegate.conf"
}

# sysctls: a sysctl.d file as lines RELATION|KEY|VALUE.
sysctls() {
    local line relation=exactly
    while IFS= read -r line; do
        case $line in
            '#: '*) relation=${line#'#: '} ;;
            *' = '*)
                [ "${line:0:1}" = '#' ] || echo "$relation|${line%% = *}|${line#* = }"
                ;;
        esac
    done
}

# memory_sysctls: what depends on the memory of this box, as a sysctl.d file.
memory_sysctls() {
    local kib pages entries
    kib=$(awk '$1 == "MemTotal:" { print $2 }' "$root/proc/meminfo" 2>/dev/null)
    [ -n "$kib" ] || return 0
    pages=$((kib * 1024 / $(getconf PAGESIZE)))
    entries=$((kib * 1024 / 8 / CONNTRACK_ENTRY_BYTES))
    [ "$entries" -le "$CONNTRACK_ENTRIES_MAX" ] || entries=$CONNTRACK_ENTRIES_MAX
    cat <<END

# --- From the memory of this box, by tuning/tune ---

# Symptom: "TCP: out of memory -- consider tuning tcp_mem" in dmesg; throughput falls although memory is free. In pages, of all
# sockets together: carefree, pressure, most. A tenth, three twentieths and a fifth of the memory.
# Shown by: cat /proc/net/sockstat (mem); nstat -az TcpExtTCPMemoryPressures TcpExtTCPAbortOnMemory
#: at least
net.ipv4.tcp_mem = $((pages / 10)) $((pages * 3 / 20)) $((pages / 5))

# Symptom: "nf_conntrack: table full, dropping packet" in dmesg. An eighth of the memory at most, and only if used.
# Shown by: conntrack -S (insert_failed, drop); sysctl net.netfilter.nf_conntrack_count
#: at least
net.netfilter.nf_conntrack_max = $entries
# Symptom: look-ups walk long chains: CPU in nf_conntrack_in.
# Shown by: perf top; sysctl net.netfilter.nf_conntrack_buckets
#: at least
net.netfilter.nf_conntrack_buckets = $((entries / 4))
END
}

# read_cores: the numbers of the cores that are online, into cores.
read_cores() {
    local range first last
    cores=()
    IFS=, read -ra ranges < <(cat "$root/sys/devices/system/cpu/online" 2>/dev/null || echo 0)
    for range in "${ranges[@]}"; do
        first=${range%-*} last=${range#*-}
        while [ "$first" -le "$last" ]; do
            cores+=("$first")
            first=$((first + 1))
        done
    done
}

# core_mask CORE...: as the kernel writes masks: hexadecimal, in groups of 32 bits, the highest first.
core_mask() {
    local core index groups=() text=''
    for core in "$@"; do
        index=$((core / 32))
        groups[index]=$((${groups[index]:-0} | 1 << core % 32))
    done
    for ((index = 0; index <= $(highest "$@") / 32; index++)); do
        text=$(printf '%08x' "${groups[index]:-0}")${text:+,}$text
    done
    echo "$text"
}

highest() {
    printf '%s\n' "$@" | sort -n | tail -n 1
}

# plain_mask MASK: without what two ways to write it differ in.
plain_mask() {
    local digits=${1//,/}
    digits=${digits#"${digits%%[!0]*}"}
    echo "${digits:-0}"
}

# chosen_interfaces: those that were named, or those with hardware that are not down.
chosen_interfaces() {
    local folder
    if [ ${#interfaces[@]} -gt 0 ]; then
        printf '%s\n' "${interfaces[@]}"
        return
    fi
    for folder in "$root"/sys/class/net/*; do
        if [ -e "$folder/device" ] && [ "$(cat "$folder/operstate" 2>/dev/null)" != down ]; then
            echo "${folder##*/}"
        fi
    done
}

# interface_queues NAME
# Symptom: one core does all the softirq work (mpstat -P ALL 1) because the interface has fewer queues than there are cores.
# Shown by: ls /sys/class/net/NAME/queues; /proc/net/softnet_stat, ninth column (received_rps)
interface_queues() {
    local folder=sys/class/net/$1/queues receive=() send=() queue index core
    if ! [ -d "$root/$folder" ]; then
        say absent "/$folder" "(queues of the interface)"
        return
    fi
    for queue in "$root/$folder"/rx-*; do [ -d "$queue" ] && receive+=("${queue##*/}"); done
    for queue in "$root/$folder"/tx-*; do [ -d "$queue" ] && send+=("${queue##*/}"); done
    for queue in "${receive[@]}"; do
        # With a queue for each core the hardware spreads them already.
        [ "${#receive[@]}" -ge "${#cores[@]}" ] || setting mask "$folder/$queue/rps_cpus" "$(core_mask "${cores[@]}")"
        setting 'at least' "$folder/$queue/rps_flow_cnt" $((FLOW_ENTRIES / ${#receive[@]}))
    done
    # Symptom: cores wait for each other's queue locks when they send (perf top: native_queued_spin_lock_slowpath).
    # With one queue there is nothing to choose.
    [ "${#send[@]}" -gt 1 ] || return 0
    for index in "${!send[@]}"; do
        local own=()
        for ((core = index % ${#cores[@]}; core < ${#cores[@]}; core += ${#send[@]})); do own+=("${cores[core]}"); done
        setting mask "$folder/${send[index]}/xps_cpus" "$(core_mask "${own[@]}")"
    done
}

# interface_interrupts NAME
# Symptom: all interrupts of the interface arrive at one core. Shown by: grep NAME /proc/interrupts
interface_interrupts() {
    local interrupt index=0 folder=$root/sys/class/net/$1/device/msi_irqs
    [ -d "$folder" ] || return 0
    if [ -e "$root/run/irqbalance" ]; then
        say ok "interrupts of $1" "are irqbalance's (systemctl disable --now irqbalance hands them to this script)"
        return
    fi
    while read -r interrupt; do
        setting exactly "proc/irq/$interrupt/smp_affinity_list" "${cores[index % ${#cores[@]}]}"
        index=$((index + 1))
    done < <(for interrupt in "$folder"/*; do echo "${interrupt##*/}"; done | sort -n)
}
