# Sweeps up behind a test. Started with the test's directory; reads what else to look after from
# standard input, which ends when the test does, also when the test is killed.
base=$1
roots=$base
pids=
cgroups=
IFS='
'
while IFS=' ' read -r what rest; do
    case $what in
        root) roots="$roots
$rest" ;;
        pid) pids="$pids
$rest" ;;
        cgroup) cgroups="$cgroups
$rest" ;;
    esac
done

within() {
    for root in $roots; do
        case $1 in "$root" | "$root"/*) return 0 ;; esac
    done
    return 1
}

targets() {
    while IFS=' ' read -r _ _ _ _ target _; do
        within "$target" && printf '%s\n' "$target"
    done </proc/self/mountinfo | tac
}

loops() {
    for file in /sys/block/loop*/loop/backing_file; do
        if read -r backing 2>/dev/null <"$file" && within "$backing"; then
            device=${file#/sys/block/}
            printf '/dev/%s\n' "${device%%/*}"
        fi
    done
}

# What was listed may be free by now, and its number another test's. Held open it stays what it is, and
# goes when it is closed.
detach() {
    {
        if read -r backing <"/sys/block/${1#/dev/}/loop/backing_file" && within "$backing"; then
            losetup -d "$1"
        fi
    } 2>/dev/null 9<"$1"
}

# An id may have been given to another process meanwhile: kill only what names our directory.
for pid in $pids; do
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$base"; then
        kill -9 "$pid" 2>/dev/null
    fi
done

# Loop devices hold mounts and mounts hold loop devices, so it takes a few rounds. After five
# seconds mounts are taken out lazily: better than leaving them.
round=0
lazy=
while [ "$round" -lt 100 ]; do
    mounted=$(targets)
    attached=$(loops)
    [ -z "$mounted$attached" ] && break
    [ "$round" -ge 50 ] && lazy=-l
    for target in $mounted; do umount $lazy "$target" 2>/dev/null; done
    for device in $attached; do detach "$device"; done
    round=$((round + 1))
    [ -z "$(targets)$(loops)" ] || sleep 0.1
done
mounted=$(targets)
attached=$(loops)
for left in $mounted $attached; do printf 'still there: %s\n' "$left"; done

for cgroup in $cgroups; do
    for dir in /sys/fs/cgroup/"$cgroup" /sys/fs/cgroup/*/"$cgroup"; do
        [ -d "$dir" ] && find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null
    done
done

# Processes that are just being killed may still write.
for _ in 1 2 3 4 5; do
    rm -rf --one-file-system "$base" 2>/dev/null && break
    sleep 0.2
done
[ ! -e "$base" ] || printf 'still there: %s\n' "$base"
