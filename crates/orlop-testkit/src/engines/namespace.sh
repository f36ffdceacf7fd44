# The first process of an engine's namespaces. When it ends, the kernel kills all others in them and
# takes the mounts away. It ends when standard input does: with the test, however that ends.
set -e
layers=$1
# Engines keep sockets, locks and runtime state here, at fixed paths.
mount -t tmpfs -o mode=755 orlop-run /run
mkdir -m 1777 /run/lock
mount -t tmpfs -o mode=1777 orlop-shm /dev/shm
# What engines, or an installation under test, write to these stays here.
mount -t tmpfs -o mode=755 orlop-layers "$layers"
for dir in etc var/lib; do
    mkdir -p "$layers/$dir/upper" "$layers/$dir/work"
    mount -t overlay -o "lowerdir=/$dir,upperdir=$layers/$dir/upper,workdir=$layers/$dir/work" \
        orlop-layer "/$dir"
done
mkdir -p /etc/docker/plugins /etc/containers
echo ready
cat >/dev/null
exit 0
