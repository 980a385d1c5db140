# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced for make check FLAVOUR=stock: a root directory of Debian 13 in the cache, in which
# one of Debian's own kernels is installed, and the module for it, by make stock-install.

# shellcheck source=tools/kernel/debian.sh
. "$TOOLS_KERNEL/debian.sh"

# stock_kernel KIND: makes sure of all that, and keeps other runs from it until this one and
# what it has started have ended. KIND is "", or "-rt" for the kernel with PREEMPT_RT. Sets,
# for all that follows,
#   STOCK_ROOT     the root directory
#   STOCK_RELEASE  the kernel's release
#   KDIR           its headers, which have its configuration
#   MODULES        where modules for this kernel would be built
stock_kernel() {
	local kind=$1 entry
	[ -z "${NAMED_KDIR:-}" ] || die "FLAVOUR=stock tests on a kernel of Debian's own, not on KDIR=$NAMED_KDIR"
	"$TOOLS_KERNEL/packages.sh" stock
	mkdir -p "$CACHE/locks"
	exec 8>"$CACHE/locks/stock.lock"
	if ! flock -w 1 8; then
		say wait "another run uses a kernel of Debian's"
		flock 8
	fi
	entry=stock-root-$KERNEL_VERSION
	# Not all that is in it is ours.
	entry_ok "$CACHE/$entry" || as_root rm -rf --one-file-system "${CACHE:?}/$entry"
	STOCK_ROOT=$(make_entry "$entry" stock_bootstrap)/root
	STOCK_RELEASE=$(stock_release "$kind")
	say install "the module for $STOCK_RELEASE, in $STOCK_ROOT"
	in_stock env RELEASE="$STOCK_RELEASE" make -C "$TOP" --no-print-directory stock-install
	KDIR=$STOCK_ROOT/usr/src/linux-headers-$STOCK_RELEASE
	MODULES=$TOP/build/stock$kind${RFUTEX_KERNEL:+-$RFUTEX_KERNEL}
	export KDIR MODULES
	mkdir -p "$MODULES"
}

# stock_bootstrap DIR: makes the root directory, in DIR/root.
# shellcheck disable=SC2317 # make_entry calls it
stock_bootstrap() {
	local dir=$1 mirror suite=${DEBIAN_SUITE%-backports}
	mirror=$(debian_mirror "Debian's $suite")
	with_spinner "$suite" "$dir/debootstrap.log" as_root unshare --mount debootstrap --variant=minbase \
		--keyring="$DEBIAN_KEYRING" "$suite" "$dir/root" "$mirror"
	stock_file etc/apt/sources.list <<-EOF
	deb $mirror $suite main
	deb $mirror $DEBIAN_SUITE main
	EOF
	# The mirror is reached as it is from here.
	apt-config dump | sed -n '/^Acquire::\(https\?::\|Check-\)/p' | stock_file etc/apt/apt.conf.d/rfutex
	# What is lost with a crash of this machine is made again.
	stock_file etc/dpkg/dpkg.cfg.d/rfutex <<<force-unsafe-io
	# What root makes there is for the VM to see, whoever starts that.
	as_root chmod a+rx "$dir/root/root"
	entry_finish "$dir" root/etc/debian_version root/etc/apt/sources.list root/usr/bin/dpkg
}

# stock_file FILE: writes standard input there. Its caller has `dir`.
# shellcheck disable=SC2317 # make_entry calls it
stock_file() { as_root tee "$dir/root/$1" >/dev/null; }

# stock_release KIND: prints the release of the kernel, and installs it if it is not there.
stock_release() {
	local kind=$1 release log=$CACHE/stock-kernel.log
	# shellcheck disable=SC2016 # it is dpkg-query that expands them
	release=$(in_stock dpkg-query -W -f '${db:Status-Status} ${Package}\n' |
		sed -n 's/^installed linux-image-//p' | stock_newest "$kind")
	if [ -z "$release" ]; then
		with_spinner apt "$log" in_stock apt-get update -q
		release=$(in_stock apt-cache pkgnames linux-image- | sed 's/^linux-image-//' | stock_newest "$kind")
		[ -n "$release" ] || die "$DEBIAN_SUITE has no kernel $KERNEL_SERIES$kind"
		# After an installation that was interrupted.
		with_spinner apt "$log" in_stock dpkg --configure -a
		with_spinner apt "$log" in_stock apt-get install -q -y --no-install-recommends \
			-t "$DEBIAN_SUITE" "linux-image-$release" make
	fi
	printf '%s\n' "$release"
}

# stock_newest KIND: of the releases in standard input, the one of that kind that everything
# is tried with, else the newest of its series. Prints nothing if there is none.
stock_newest() {
	local kind=$1 arch
	arch=$(architecture)
	awk -v version="$KERNEL_VERSION+" -v series="$KERNEL_SERIES." -v tail="$kind-$arch" '
		index($0, series) == 1 && substr($0, index($0, "-")) == tail {
			print (index($0, version) == 1), $0
		}' | sort -V | sed -n '$s/^[01] //p'
}

# in_stock COMMAND...: runs it as root in that root directory, where this checkout is where it
# is here, and cannot be written to.
in_stock() {
	# shellcheck disable=SC2016 # the shell that is run expands them
	as_root env -i TERM="${TERM:-dumb}" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
		DEBIAN_FRONTEND=noninteractive INITRD=No \
		unshare --mount bash -euc '
			root=$1 top=$2
			shift 2
			for dir in /proc /sys /dev; do
				mount --rbind "$dir" "$root$dir"
			done
			mkdir -p "$root$top"
			mount --bind "$top" "$root$top"
			mount -o remount,bind,ro "$root$top"
			exec chroot "$root" "$@"' bash "$STOCK_ROOT" "$TOP" "$@" 8>&-
}
