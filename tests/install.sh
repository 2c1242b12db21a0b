#!/usr/bin/env bash
# Installs what the tests need on a bare Debian 12 with Rust: packages from apt, PyPI and npm, by name.
# Steps that are already satisfied are skipped; nothing is printed unless something is installed or fails.
set -euo pipefail
cd "$(dirname "$0")"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step WORDS COMMAND...: runs the command silently; on failure shows the end of what it said, then one clear line.
step() {
    local words=$1
    shift
    echo "tests/install.sh: $words"
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "tests/install.sh: FAILED: $words" >&2
        exit 1
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

if ! command -v cargo >/dev/null; then
    echo "tests/install.sh: FAILED: Rust is missing (cargo is not on PATH); install Rust 1.90 or newer first" >&2
    exit 1
fi

# package:file that it brings. gcc builds the C half of aws-lc-rs, the browser drives the demo's page, valgrind counts
# instructions, strace makes system calls fail, ip takes networks away, kill sends signals, nats-server is what the bus is
# compared with, haproxy and nginx stand in front, nginx and Apache are servers behind the gateway, systemd judges the units, shellcheck the scripts, and GnuTLS, Go and Java are TLS clients. tests/house/tools.rs
# compares the list with the programs that the tests start.
missing=()
for pair in \
    gcc:/usr/bin/cc libc6-dev:/usr/include/stdio.h make:/usr/bin/make \
    ca-certificates:/etc/ssl/certs/ca-certificates.crt curl:/usr/bin/curl openssl:/usr/bin/openssl \
    procps:/bin/kill iproute2:/sbin/ip strace:/usr/bin/strace valgrind:/usr/bin/valgrind nats-server:/usr/sbin/nats-server haproxy:/usr/sbin/haproxy \
    nginx-light:/usr/sbin/nginx libnginx-mod-stream:/usr/lib/nginx/modules/ngx_stream_module.so apache2-bin:/usr/sbin/apache2 \
    gnutls-bin:/usr/bin/gnutls-cli golang-go:/usr/bin/go openjdk-17-jdk-headless:/usr/bin/java \
    openjdk-17-jdk-headless:/usr/bin/javac \
    systemd:/usr/bin/systemd-analyze systemd:/usr/bin/systemd-socket-activate shellcheck:/usr/bin/shellcheck \
    chromium:/usr/bin/chromium fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf; do
    [ -e "${pair#*:}" ] || missing+=("${pair%%:*}")
done
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
# Debian's python3 cannot make a virtual environment without python3-venv.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    step "apt: package lists" as_root apt-get update
    step "apt: ${missing[*]}" as_root apt-get install -y --no-install-recommends "${missing[@]}"
fi

# nats-core asks for a newer Python than Debian's, and lacks nothing that tests/program/nats/core.py does not fill in.
# A root that no installer has made does not know localhost, which tests call by its name (RFC 6761 section 6.3).
getent hosts localhost >/dev/null || step "hosts: localhost" as_root sh -c 'echo 127.0.0.1 localhost >>/etc/hosts'

# A stamp beside what was installed holds the list that it was installed from; another list installs again.
if ! cmp -s requirements.txt .venv/installed; then
    [ -x .venv/bin/python ] || step "python: tests/.venv" python3 -m venv .venv
    step "python: requirements.txt" \
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --ignore-requires-python -r requirements.txt
    cp requirements.txt .venv/installed
fi
if ! cmp -s package.json node_modules/installed; then
    step "npm: package.json" npm install --no-package-lock --no-audit --no-fund --ignore-scripts
    cp package.json node_modules/installed
fi
# The examples in JavaScript find their packages beside themselves.
[ -e ../examples/node_modules ] || ln -s ../tests/node_modules ../examples/node_modules
