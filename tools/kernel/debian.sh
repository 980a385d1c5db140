# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Downloads packages of a Debian suite other than the system's: from a mirror, with
# an apt state and cache of our own, or, when the mirror has them no more, from the
# archive of Debian's snapshots. The system's sources are neither used nor changed.
# Only the mirror's address is taken from them.

# shellcheck source=tools/kernel/fetch.sh
. "$TOOLS_KERNEL/fetch.sh"

DEBIAN_KEYRING=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
DEBIAN_SNAPSHOT=${DEBIAN_SNAPSHOT:-https://snapshot.debian.org}

# debian_mirror WHAT: the address of the mirror to have WHAT from, as apt is configured.
debian_mirror() {
	local mirror=${DEBIAN_MIRROR:-}
	have apt-get || die "no apt here to download $1 with"
	# shellcheck disable=SC2016 # it is apt that expands them
	[ -n "$mirror" ] ||
		mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
			awk '$2 == "main" && $1 !~ /security/ && !n++ { print $1 }')
	[ -n "$mirror" ] || die "apt has no Debian mirror configured"
	printf '%s\n' "$mirror"
}

# own_apt TYPE MIRROR SUITE: has apt use a state and a cache of our own from now on, and
# read that suite there and nothing else: packages (deb) or their sources (deb-src).
own_apt() {
	local type=$1 mirror=$2 suite=$3 apt=$CACHE/apt
	mkdir -p "$apt/etc" "$apt/state/lists/partial" "$apt/cache/archives/partial"
	printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
		"$type" "$mirror" "$suite" "$DEBIAN_KEYRING" >"$apt/etc/rfutex.sources"
	cat >"$apt/apt.conf" <<-EOF
	Dir::State "$apt/state";
	Dir::Cache "$apt/cache";
	Dir::State::status "/var/lib/dpkg/status";
	Dir::Etc::SourceList "/dev/null";
	Dir::Etc::SourceParts "$apt/etc";
	Dir::Etc::Preferences "/dev/null";
	APT::Sandbox::User "";
	APT::Update::Error-Mode "any";
	Acquire::Retries "1";
	Acquire::http::Timeout "$FETCH_TIMEOUT";
	Acquire::https::Timeout "$FETCH_TIMEOUT";
	${DEBIAN_ARCH:+APT::Architecture \"$DEBIAN_ARCH\"; APT::Architectures \"$DEBIAN_ARCH\";}
	EOF
	export APT_CONFIG=$apt/apt.conf
	apt-get update -q >"$apt/log" 2>&1 ||
		die "apt cannot read the index of $suite from $mirror (see $apt/log)"
}

# debian_fetch DIR PACKAGE PATTERN: download into DIR the newest version of PACKAGE
# in $DEBIAN_SUITE that matches PATTERN (a shell pattern on the version), for this
# machine or for the architecture DEBIAN_ARCH. Leaves
# PACKAGE.deb and a file version. Fails with 2 when the mirror has other versions
# only, else with 1.
debian_fetch() { alone "$CACHE/locks/debian.lock" "downloading a package" debian_download "$@"; }

# debian_download DIR PACKAGE PATTERN: debian_fetch's work, in a subshell and
# under its lock. Whoever asks whether it worked turns -e off in it, so each
# step that may fail says so itself.
debian_download() {
	local dir=$1 package=$2 pattern=$3 version found='' mirror
	mirror=$(debian_mirror "$package") || exit
	own_apt deb "$mirror" "$DEBIAN_SUITE"
	for version in $(apt-cache madison "$package" | awk '{ print $3 }'); do
		# shellcheck disable=SC2254 # it is a pattern
		case $version in $pattern) found=$version; break ;; esac
	done
	if [ -z "$found" ]; then
		say missing "$DEBIAN_SUITE has no $package $pattern (any more) at $mirror"
		exit 2
	fi
	cd "$dir" || exit
	apt-get download -q "$package=$found" || die "apt cannot download $package $found from $mirror"
	mv "$package"_*.deb "$package.deb" && printf '%s\n' "$found" >version
}

# debian_source DIR PACKAGE SOURCE VERSION: unpack into DIR that version of the source package
# SOURCE, from where PACKAGE, which was built of it, was installed from. Fails when no mirror
# that apt knows has the version that is installed.
debian_source() { alone "$CACHE/locks/debian.lock" "downloading a package" debian_download_source "$@"; }

# debian_download_source DIR PACKAGE SOURCE VERSION: debian_source's work, as debian_download
# is debian_fetch's.
debian_download_source() {
	local dir=$1 package=$2 source=$3 version=$4 installed from mirror suite
	have apt-get || die "no apt here to download the source of $package with"
	# shellcheck disable=SC2016 # it is dpkg-query that expands it
	installed=$(dpkg-query -W -f '${Version}\n' "$package" | head -n 1)
	from=$(apt-cache madison "$package" |
		awk -F ' *[|] *' -v version="$installed" '$2 == version && $3 ~ / Packages/ && !n++ { print $3 }')
	[ -n "$from" ] || die "no mirror that apt knows has $package $installed, which is installed"
	read -r mirror suite _ <<<"$from"
	own_apt deb-src "$mirror" "${suite%/main}"
	cd "$dir" || exit
	apt-get source -q "$source=$version" >"$CACHE/apt/log" 2>&1 ||
		die "apt cannot get the source $source $version from $mirror (see $CACHE/apt/log)"
}

# architecture: Debian's name for that of this machine.
architecture() {
	if have dpkg; then
		dpkg --print-architecture
	else
		uname -m | sed 's/^x86_64$/amd64/; s/^aarch64$/arm64/'
	fi
}

# snapshot_fetch DIR PACKAGE PATTERN: like debian_fetch, but what tools/kernel/pins
# knows the checksums of, and from the archive of snapshots. That is asked by SHA1
# (https://snapshot.debian.org/file/SHA1), which finds a file whatever suite it was
# in, and when. What counts is the SHA256.
snapshot_fetch() {
	local dir=$1 package=$2 pattern=$3 name version arch sha256 sha1 own file
	own=${DEBIAN_ARCH:-$(architecture)}
	while read -r name version arch sha256 sha1; do
		[ "$name" = "$package" ] || continue
		[ "$arch" = all ] || [ "$arch" = "$own" ] || continue
		# shellcheck disable=SC2254 # it is a pattern
		case $version in $pattern) ;; *) continue ;; esac
		file=$dir/${package}_${version}_$arch.deb
		fetch "$DEBIAN_SNAPSHOT/file/$sha1" "$file" sha256_is "$sha256" || return 1
		mv "$file" "$dir/$package.deb" && printf '%s\n' "$version" >"$dir/version"
		return
	done <"$TOOLS_KERNEL/pins"
	say missing "no checksum of $package $pattern for $own is known here (tools/kernel/pins)"
	return 1
}

# package_fetch DIR PACKAGE PATTERN: from the mirror, else from the snapshots.
package_fetch() {
	debian_fetch "$@" && return
	say download "$2 from the archive of Debian's snapshots, $DEBIAN_SNAPSHOT"
	snapshot_fetch "$@" || die "$2 $3 cannot be had"
}

# unpack_deb FILE DIR
unpack_deb() {
	if have dpkg-deb; then
		dpkg-deb -x "$1" "$2"
	else
		mkdir -p "$2"
		ar p "$1" data.tar.xz | tar -C "$2" -xJ
	fi
}
