# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Downloads packages of a Debian suite other than the system's, with an apt
# state and cache of our own: the system's sources are neither used nor changed.
# Only the mirror's address is taken from them.

# debian_fetch DIR PACKAGE PATTERN...: download into DIR the newest version of
# PACKAGE in $DEBIAN_SUITE that matches the first PATTERN that any matches (a
# shell pattern on the version). Leaves PACKAGE.deb. Fails when none matches.
debian_fetch() { alone "$CACHE/locks/debian.lock" "downloading a package" debian_download "$@"; }

# debian_download DIR PACKAGE PATTERN...: debian_fetch's work, in a subshell and
# under its lock. Whoever asks whether it worked turns -e off in it, so each
# step that may fail says so itself.
debian_download() {
	local dir=$1 package=$2 pattern version found='' mirror keyring apt=$CACHE/apt
	shift 2
	have apt-get || die "no apt here to download $package with"
	# shellcheck disable=SC2016 # it is apt that expands them
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		awk '$2 == "main" && $1 !~ /security/ && !n++ { print $1 }')
	[ -n "$mirror" ] || die "apt has no Debian mirror configured"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mkdir -p "$apt/etc" "$apt/state/lists/partial" "$apt/cache/archives/partial"
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
		"$mirror" "$DEBIAN_SUITE" "$keyring" >"$apt/etc/rfutex.sources"
	cat >"$apt/apt.conf" <<-EOF
	Dir::State "$apt/state";
	Dir::Cache "$apt/cache";
	Dir::State::status "/var/lib/dpkg/status";
	Dir::Etc::SourceList "/dev/null";
	Dir::Etc::SourceParts "$apt/etc";
	Dir::Etc::Preferences "/dev/null";
	APT::Sandbox::User "";
	APT::Update::Error-Mode "any";
	EOF
	export APT_CONFIG=$apt/apt.conf
	apt-get update -q || die "apt cannot read the index of $DEBIAN_SUITE"
	for pattern in "$@"; do
		for version in $(apt-cache madison "$package" | awk '{ print $3 }'); do
			# shellcheck disable=SC2254 # it is a pattern
			case $version in $pattern) found=$version; break 2 ;; esac
		done
	done
	[ -n "$found" ] || die "$DEBIAN_SUITE has no $package that matches: $*"
	cd "$dir" || exit
	apt-get download -q "$package=$found" || die "apt cannot download $package $found"
	mv "$package"_*.deb "$package.deb" && printf '%s\n' "$found" >version
}
