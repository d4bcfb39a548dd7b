# A machine within QEMU's own processor (TCG), for what this host has not: made of Debian's kernel, busybox and what
# is to be run in it. Sourced, not run; $work is where it is made, $me who makes it.
# shellcheck shell=sh
# shellcheck disable=SC2154

say() { printf '%s: %s\n' "$me" "$*" >&2; }
fail() { say "$*"; exit 1; }

# need TOOL…
need() {
    [ "$(uname -m)" = x86_64 ] || fail "this is for x86_64; this machine is $(uname -m)"
    for tool in apt-get apt-cache dpkg-deb qemu-system-x86_64 ldd strip strings cargo "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing"
    done
    mkdir -p "$work"
}

# kernel_of PACKAGE: the version of the kernel that a package of Debian's stands for; it and busybox are in
# $work/tree then.
kernel_of() {
    package=$(LC_ALL=C apt-cache depends "$1" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || fail "apt knows no package $1: as root, run apt-get update first"
    version=${package#linux-image-}
    if [ ! -e "$work/tree/boot/vmlinuz-$version" ]; then
        say "downloading $package and busybox"
        rm -rf "$work/packages"
        mkdir "$work/packages"
        (cd "$work/packages" && apt-get -qq -o APT::Sandbox::User=root download "$package" busybox-static) >&2
        for file in "$work"/packages/*.deb; do dpkg-deb -x "$file" "$work/tree"; done
        rm -rf "$work/packages"
    fi
    echo "$version"
}

# module FOLDER VERSION NAME: a module, after those that it stands on. One that is built in, or there, is left out.
module() {
    file=$(find "$work/tree" -path "*/$2/*" -name "$(echo "$3" | sed 's/[-_]/[-_]/g').ko" | head -n 1)
    [ -n "$file" ] && [ ! -e "$1/modules/${file##*/}" ] || return 0
    cp "$file" "$1/modules/"
    for below in $(strings -a "$file" | sed -n 's/^depends=//p' | tr , ' '); do module "$1" "$2" "$below"; done
    file=$(find "$work/tree" -path "*/$2/*" -name "$(echo "$3" | sed 's/[-_]/[-_]/g').ko" | head -n 1)
    echo "${file##*/}" >>"$1/modules/order"
}

# begin FOLDER VERSION MODULE…: an initial file system, which loads these.
begin() {
    rm -rf "$1"
    mkdir -p "$1/bin" "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/run" "$1/modules" "$1/etc"
    cp "$work/tree/bin/busybox" "$1/bin/"
    ln -s busybox "$1/bin/sh"
    printf 'root:x:0:0:root:/:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\n' >"$1/etc/group"
    folder=$1
    of=$2
    shift 2
    for name in "$@"; do module "$folder" "$of" "$name"; done
}

# init FOLDER: its first program, the rest of which is read.
init() {
    {
        cat <<'END'
#!/bin/sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
ip link set lo up 2>/dev/null
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order
END
        cat
    } >"$1/init"
    chmod 755 "$1/init"
}

# with_libraries FOLDER PROGRAM…: what programs are linked with.
with_libraries() {
    into=$1
    shift
    for file in "$@"; do
        [ -e "$file" ] || fail "$file is missing"
        ldd "$file" | sed -n -e 's/.*[ \t]\(\/[^ ]*\) (0x.*/\1/p' -e 's/^[ \t]*\(\/[^ ]*\) (0x.*/\1/p'
    done | sort -u | while read -r library; do
        mkdir -p "$into$(dirname "$library")"
        cp -L "$library" "$into$library"
    done
}

pack() { (cd "$1" && find . | LC_ALL=C sort | bin/busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$2"; }

# built TARGET PATTERN: the newest program of this name that cargo makes of the tests.
built() {
    cargo test --workspace --test "$1" --no-run --message-format=json 2>/dev/null |
        sed -n "s/.*\"executable\":\"\\([^\"]*$1-[^\"]*\\)\".*/\\1/p" | tail -n 1
}
