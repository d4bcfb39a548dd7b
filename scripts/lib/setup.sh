# What scripts/test and scripts/demo need on a Debian machine, and how it is put there. Sourced, not run.
# Everything is done once: what is there already is left alone.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$me" "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# step WHAT COMMAND…: runs it quietly, with a line that shows how long it has been at it; when it
# fails, what it printed is shown.
step() {
    local what=$1 log started=$SECONDS pid status=0
    shift
    log=$(mktemp "$build/step.XXXXXX")
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    if [ -t 2 ]; then
        while kill -0 "$pid" 2>/dev/null; do
            printf '\r\033[K%s: %s … %d s' "$me" "$what" $((SECONDS - started)) >&2
            sleep 1
        done
        printf '\r\033[K' >&2
    fi
    wait "$pid" || status=$?
    if [ $status = 0 ]; then
        say "$what: done in $((SECONDS - started)) s"
    else
        say "$what: failed. It said:"
        tail -n 40 "$log" >&2
    fi
    rm -f "$log"
    return $status
}

# as_root COMMAND…: as root, by sudo when need be.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

# packages WHY PACKAGE…: installs Debian packages.
packages() {
    local why=$1 unwanted= service
    shift
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        fail "missing, $why: $*. You are not root and there is no sudo: ask an administrator for
    apt-get install $*"
    fi
    command -v apt-get >/dev/null || fail "missing, $why: $*. This is no Debian machine: install them your way"
    say "installing, $why: $*"
    [ "$(id -u)" = 0 ] || sudo -v || fail 'sudo did not let you'
    have prosody || have erl || unwanted='prosody ejabberd epmd.socket epmd.service'
    have prometheus || unwanted+=' prometheus'
    no_services_meanwhile
    if ! step "apt-get install $*" install_packages "$@"; then
        refresh_packages
        step "apt-get install $*" install_packages "$@" || fail "apt-get could not install $*"
    fi
    services_as_before
    # The packages' own services are not wanted: labs start servers of their own. Machines that had a
    # server before keep it as it was.
    have systemctl || return 0
    for service in $unwanted; do
        as_root systemctl disable --quiet "$service" >/dev/null 2>&1 || true
    done
}
install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "$@"
}

# What apt knows of can be older than what its servers still have.
refresh_packages() { step 'apt-get update' as_root apt-get -qq update || fail 'apt-get update did not work'; }

# made SCRIPT WHAT: runs a script of ours that downloads packages, a second time with a fresh list of them.
made() {
    "$root/scripts/$1" && return
    refresh_packages
    "$root/scripts/$1" || fail "there is no $2 (see above)"
}

# Debian starts a service as it is installed. policy-rc.d is its way of saying no; ours is there only
# meanwhile, and one of the machine's own is left alone.
policy=/usr/sbin/policy-rc.d
ours="# skerry: only while packages are being installed"
no_services_meanwhile() {
    [ -e $policy ] && return
    trap services_as_before EXIT
    printf '#!/bin/sh\n%s\nexit 101\n' "$ours" | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
}
services_as_before() {
    if grep -qsF "$ours" $policy; then as_root rm -f $policy; fi
    trap - EXIT
}

# have PROGRAM…: whether all of them are here (servers are where only root's PATH looks).
have() {
    local program
    for program in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || return 1
    done
}

need_rust() {
    have cargo rustc || fail 'there is no Rust here: install a toolchain (rustup.rs), then run this again'
    local wanted has
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    has=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$has" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "Rust $wanted or newer is needed, here is $has (rustup update)"
    have cc || packages 'to link Rust programs and build SQLite' gcc libc6-dev
}

need_prosody() { have prosody || packages 'the XMPP server of labs' prosody; }

need_ejabberd() {
    have erl && compgen -G '/usr/lib/*/ejabberd-*' >/dev/null || packages 'the other XMPP server of labs' ejabberd
}

need_qemu() {
    # One after the other: a qemu-utils from elsewhere that does not fit is then replaced.
    have qemu-system-x86_64 || packages 'to run real guests' qemu-system-x86
    have qemu-img || packages 'to make disks for guests' qemu-utils
    have swtpm || packages 'to give guests a TPM' swtpm
    # Debian 12 has it with QEMU.
    [ -e /usr/lib/qemu/virtiofsd ] || [ -e /usr/libexec/virtiofsd ] ||
        packages 'to share folders with guests' virtiofsd
}

# The daemon is started by virsh, as an ordinary user's, in the bench's own folder; Debian's own is not wanted.
need_libvirt() {
    have virsh libvirtd ||
        packages 'what the bench compares with' libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
}
# Networks of machines are made by these, and tested in namespaces with busybox's clients of theirs.
need_networks() {
    have nft ip dnsmasq && return
    packages 'to make networks for machines: rules, interfaces, addresses and names' nftables iproute2 dnsmasq-base
}
need_busybox() { have busybox || packages 'a client for DHCP and DNS in tests' busybox-static; }

need_guest() { made guest 'guest to run'; }

need_debian() {
    have mmdebstrap || packages 'to make a small Debian as a guest' mmdebstrap
    have mke2fs || packages 'to make a file system for it' e2fsprogs
    made debian 'Debian to run as a guest'
}

# A virtual environment of Python's under build/, for tools and for the clients nobody here wrote.
need_python() {
    python3 -c 'import venv, ensurepip' 2>/dev/null || packages 'for test clients written in Python' python3-venv
    local wanted
    wanted=$(cat "$root/scripts/lib/requirements.txt")
    [ "$(cat "$build/python/requirements" 2>/dev/null)" = "$wanted" ] && return
    rm -rf "$build/python"
    step 'making build/python' python3 -m venv "$build/python" || fail 'the Python environment could not be made'
    step "installing there: $(sed -n 's/^\([^ #=]*==[^ ]*\).*/\1/p' "$root/scripts/lib/requirements.txt" | xargs)" \
        "$build/python/bin/pip" install --quiet --disable-pip-version-check \
        -r "$root/scripts/lib/requirements.txt" || fail 'the Python packages could not be installed'
    printf '%s\n' "$wanted" >"$build/python/requirements"
}
