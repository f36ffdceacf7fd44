# Runs one test of a test program in an emulated machine with Debian's kernel for clouds. Everything is
# made below target/vm; the kernel is fetched once.
test=$1 name=$2
dir=${CARGO_TARGET_DIR:-target}/vm
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$dir"
if ! ls "$dir"/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
    package() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-[0-9]/ {print $2; exit}'; }
    [ -n "$(package)" ] || apt-get update -qq
    (cd "$dir" && apt-get download -qq "$(package)" 2>/dev/null && dpkg-deb -x linux-image-*.deb kernel && rm linux-image-*.deb)
fi

rm -rf "$dir/root"
mkdir -p "$dir/root/bin" "$dir/root/proc" "$dir/root/sys" "$dir/root/dev" "$dir/root/tmp" "$dir/root/run"
# A program with the libraries that it is linked to.
take() {
    cp -L "$1" "$dir/root/bin/$2"
    for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*'); do
        mkdir -p "$dir/root$(dirname "$library")"
        cp -nL "$library" "$dir/root$library"
    done
}
for program in busybox mke2fs e2fsck resize2fs mkfs.xfs xfs_repair mount umount unshare nsenter losetup; do
    take "$(command -v $program)" $program
done
ln -s busybox "$dir/root/bin/sh"
ln -s mke2fs "$dir/root/bin/mkfs.ext4"
ln -s e2fsck "$dir/root/bin/fsck.ext4"
take "$test" test
strip "$dir/root/bin/test" 2>/dev/null || true
cp "$dir"/kernel/lib/modules/*/kernel/drivers/block/loop.ko "$dir/root/"
cat > "$dir/root/init" <<EOF
#!/bin/sh
busybox --install -s /bin 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
ip link set lo up
insmod /loop.ko
CI=1 /bin/test --exact $name --nocapture --test-threads=1
poweroff -f
EOF
chmod +x "$dir/root/init"
(cd "$dir/root" && find . | cpio --quiet -o -H newc | gzip -1) > "$dir/initrd"
exec timeout 150 qemu-system-x86_64 -accel tcg -m 1024 -nographic -no-reboot -nic none \
    -kernel "$dir"/kernel/boot/vmlinuz-* -initrd "$dir/initrd" -append "console=ttyS0 quiet panic=-1"
