#!/bin/sh
# collect.sh PROGRAMS ROOT FILE...: makes the root filesystem ROOT of the programs that the list
# PROGRAMS names, taken from this system, and of the FILEs, which go to /usr/bin; with the libraries
# that all of them need, and nothing else.
set -eu
programs=$1 root=$2
shift 2

# Debian's layout: programs and libraries below /usr, links to them above.
for directory in bin sbin lib lib64; do
    mkdir -p "$root/usr/$directory"
    ln -sfn "usr/$directory" "$root/$directory"
done
# What the daemon is given is mounted here; a read-only root can't make it.
for directory in etc/orlop var/lib/orlop var/lib/orlop-pools var/lib/kubelet run/orlop dev proc sys; do
    mkdir -p "$root/$directory"
done
# For messages that name an owner.
echo 'root:x:0:0::/:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"

# Puts a file at a path in the root; links are followed, so that each name is a file.
put() {
    mkdir -p "$root${2%/*}"
    [ -e "$root$2" ] || cp -L "$1" "$root$2"
}

# Puts the libraries of a program. A static one or a script has none, which ldd calls an error.
libraries() {
    list=$(ldd "$1" 2>/dev/null) || return 0
    echo "$list" | sed -n 's/^.*=> \(\/[^ ]*\) .*$/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*$/\1/p' |
        while read -r library; do put "$library" "$library"; done
}

sed 's/#.*//' "$programs" | while read -r name package; do
    [ -n "$name" ] || continue
    found=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v "$name") || {
        echo "collect.sh: there is no $name; Debian's package $package has it" >&2
        exit 1
    }
    put "$found" "$found"
    libraries "$found"
done

for file in "$@"; do
    put "$file" "/usr/bin/${file##*/}"
    libraries "$file"
done

# The C library opens it by itself where a thread ends early, as in xfs_repair.
gcc=$(ldconfig -p | sed -n 's/^.*libgcc_s\.so\.1 .*=> //p' | head -n 1)
put "$gcc" "$gcc"
