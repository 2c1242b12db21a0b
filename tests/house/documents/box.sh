#!/usr/bin/env bash
# A box on which nothing has been installed yet, for one script: this machine's system, read-only, below empty /usr/local, /etc,
# /var and /run, with a network of its own. The script comes on standard input and starts in a copy of the project; it ends
# with its first failure.
#
#   unshare --mount --net --pid --fork --kill-child --propagation unchanged tests/house/documents/box.sh FOLDER TIDEGATE < SCRIPT
#
# FOLDER is where the box is put together, in memory; TIDEGATE is the binary that stands where cargo would have built it.
set -euo pipefail
project=$(cd "$(dirname "$0")/../../.." && pwd)
box=$1 tidegate=$2

# What is mounted here stays in this namespace. In a chroot, whose root is no mount, only the mount below the box can be told so.
mount --make-rprivate / 2>/dev/null || mount --make-private "$(stat --format %m "$box")" 2>/dev/null || true
mount -t tmpfs tmpfs "$box"
mkdir -p "$box"/{usr,etc,var,run,tmp,proc,sys,dev,root/tidegate/target/release}
mount --rbind -o ro /usr "$box/usr"
mount -t tmpfs tmpfs "$box/usr/local"
for name in bin sbin lib lib64; do
    [ ! -e "/$name" ] || ln -s "usr/$name" "$box/$name"
done
mount -t proc proc "$box/proc"
mount --bind "$box/proc/sys" "$box/proc/sys"
mount -o remount,bind,ro "$box/proc/sys"
mount -t sysfs -o ro sysfs "$box/sys"
mount --rbind /dev "$box/dev"
# What programs need to start at all: who is who, and where libraries are.
for name in passwd group nsswitch.conf ld.so.cache alternatives; do
    [ ! -e "/etc/$name" ] || cp -a "/etc/$name" "$box/etc/"
done
(cd "$project" && cp -r docs systemd tuning README.md "$box/root/tidegate/")
touch "$box/root/tidegate/target/release/tidegate"
mount --bind "$tidegate" "$box/root/tidegate/target/release/tidegate"
ip link set lo up

# What a person has and the box has not: rights to be asked for, a compiler, the tools of others, and a systemd that runs (units
# are enabled in files, and started by the script). `served` waits for the gateway in the background.
cat >"$box/root/person.bash" <<'END'
sudo() { "$@"; }
cargo() { :; }
make() { :; }
nats() { :; }
curl() { command curl --silent --show-error --fail-with-body "$@"; }
systemctl() {
    case $1 in
        daemon-reload | start | stop) ;;
        enable) command systemctl "${@/#--now/--quiet}" ;;
        *) return 1 ;;
    esac
}
served() {
    until command curl --silent --fail --output /dev/null http://127.0.0.1:9180/ready; do
        kill -0 "$1"
        sleep 0.1
    done
}
END
exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/root/person.bash chroot "$box" /bin/bash -c 'cd /root/tidegate && exec /bin/bash -e /dev/stdin'
