#!/usr/bin/env bash
# Runs the tests where nothing is installed: a clean clone of HEAD in a bare Debian 12 root (debootstrap, minbase) with this
# machine's Rust. Arguments go to tests/run.sh. The root lies in target/bare; it is removed if all went well.
#
#   this machine's apt sources --> debootstrap --> target/bare  <-- Rust, bound read-only; clone; settings of apt, pip, npm
#                                                      '--> a mount and process namespace of its own --> chroot --> tests/run.sh
#
# Ends with one line: whether the tests passed there, or what is missing here to try it.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/target/bare
release=bookworm
# Where the clone and Rust are in the root.
clone=/root/tidegate rust=/opt/rust

die() {
    echo "tests/bare.sh: FAILED: $*" >&2
    exit 1
}

# What the namespaces are for is mounted in them and goes with them, and so do the processes.
enter() {
    local folder
    # Its root is a mount, as any box's is.
    mount --bind "$root" "$root"
    for folder in dev sys; do
        mount --rbind "/$folder" "$root/$folder"
    done
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount --bind "$(rustc --print sysroot)" "$root$rust"
    mount -o remount,bind,ro "$root$rust"
    # How this machine reaches the registries comes along; what else is in its environment does not.
    local settings=()
    while IFS= read -r -d '' setting; do
        case $setting in
            PIP_* | npm_config_* | NPM_CONFIG_* | *_proxy=* | *_PROXY=* | SSL_CERT_FILE=* | NODE_EXTRA_CA_CERTS=*) settings+=("$setting") ;;
        esac
    done < <(env -0)
    exec env -i HOME=/root TERM="${TERM:-dumb}" PATH="$rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "${settings[@]}" \
        chroot "$root" /bin/bash -c "cd $clone && exec tests/run.sh \"\$@\"" bash "$@"
}

if [ "${1:-}" = --inside ]; then
    enter "${@:2}"
fi

[ "$(id -u)" -eq 0 ] || die "it needs root: debootstrap and chroot do"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
command -v rustc >/dev/null || die "Rust is missing: rustc is not on PATH"
[ "$(rustc --print sysroot)" != /usr ] || die "Rust is the system's own, in /usr: a toolchain in a folder of its own is needed (rustup)"
unshare --mount --pid --fork true 2>/dev/null || die "namespaces are not to be had: unshare --mount --pid is refused"

# The sources of this release that this machine has, a line each: URI RELEASE COMPONENT.
sources=$(apt-get indextargets --format "\$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' |
    awk -v release=$release '($2 == release || index($2, release "-") == 1) && $3 == "main"')
mirror=$(awk -v release=$release '$2 == release { print $1; exit }' <<<"$sources")
[ -n "$mirror" ] || die "apt has no source for $release main here: apt-get update, or add one"

echo "tests/bare.sh: debootstrap in target/bare"
rm -rf --one-file-system "$root"
mkdir -p "$root"
log=$PWD/target/bare.log
debootstrap --variant=minbase "$release" "$root" "$mirror" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    die "debootstrap $release"
}
awk '{ print "deb", $0 }' <<<"$sources" >"$root/etc/apt/sources.list"
apt-config dump --format '%F "%v";%n' Acquire::http Acquire::https >"$root/etc/apt/apt.conf.d/90here"
cp -r /etc/resolv.conf "$root/etc/"

# come SOURCE DESTINATION: copies what is there.
come() {
    [ ! -e "$1" ] || (mkdir -p "$root$(dirname "$2")" && cp -rL --reflink=auto "$1" "$root$2")
}
come /etc/apt/auth.conf.d /etc/apt/auth.conf.d
come /usr/local/share/ca-certificates /usr/local/share/ca-certificates
come /etc/pip.conf /etc/pip.conf
come ~/.config/pip /root/.config/pip
come /etc/npmrc /etc/npmrc
come ~/.npmrc /root/.npmrc
cargo=${CARGO_HOME:-$HOME/.cargo}
for part in config.toml config registry/index registry/cache; do
    come "$cargo/$part" "/root/.cargo/$part"
done
mkdir -p "$root$rust"
git clone --quiet --no-hardlinks . "$root$clone"
commit=$(git -C "$root$clone" rev-parse --short HEAD)

status=0
unshare --mount --propagation private --pid --fork --kill-child "$0" --inside "$@" || status=$?
if [ "$status" -eq 0 ]; then
    rm -rf --one-file-system "$root"
    echo "tests/bare.sh: passed: $commit in a bare Debian ($release)"
else
    die "the tests of $commit in a bare Debian ($release), status $status; the root is kept in target/bare"
fi
