# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Downloads single files over HTTP, and uses none that was not checked.

# How many seconds a server may say nothing.
FETCH_TIMEOUT=${FETCH_TIMEOUT:-30}

# fetch URL FILE CHECK...: downloads URL to FILE. `CHECK... FILE` has to succeed,
# or to print what is wrong with it. What was received before an interruption is
# kept in the cache under FILE's name, and the next run goes on from there. Dies
# with one sentence when that does not work.
fetch() { alone "$CACHE/locks/fetch.lock" "downloading a file" fetch_file "$@"; }

# fetch_file URL FILE CHECK...: fetch's work, in a subshell and under its lock.
# Like debian_download, it cannot rely on -e.
fetch_file() {
	local url=$1 file=$2 part why resumed=''
	shift 2
	have curl || die "$url cannot be downloaded: there is no curl here"
	part=$CACHE/downloads/${file##*/}.part
	mkdir -p "${part%/*}" || exit
	[ ! -s "$part" ] || resumed=yes
	receive "$url" "$part"
	if why=$("$@" "$part"); then
		:
	elif [ -z "$resumed" ]; then
		refuse "$url" "$part" "$why"
	else
		say download "what an earlier run left of ${file##*/} is of no use: from the beginning"
		rm -f "$part"
		receive "$url" "$part"
		why=$("$@" "$part") || refuse "$url" "$part" "$why"
	fi
	mv "$part" "$file" || die "$file cannot be written"
}

# refuse URL PART WHY
refuse() {
	rm -f "$2"
	die "$1 is not used: $3"
}

# receive URL PART: downloads what PART lacks of URL. Goes on when a connection
# breaks that brought something, and asks a server that has a fault once more.
receive() {
	local url=$1 part=$2 before status answer attempt=0 faults=0 meter=--silent
	[ ! -t 2 ] || meter=--progress-bar
	while :; do
		attempt=$((attempt + 1)) status=0
		before=$(size "$part")
		answer=$(curl "$meter" --fail --location --connect-timeout "$FETCH_TIMEOUT" \
			--speed-limit 1000 --speed-time "$FETCH_TIMEOUT" --continue-at - \
			--output "$part" --write-out '%{http_code} %{errormsg}' -- "$url") || status=$?
		case $status:$answer in
		0:*) : >>"$part"; return ;;
		33:* | 22:416*)
			# The server cannot go on from there, or there is nothing to go on with.
			[ "$before" = 0 ] || { rm -f "$part"; continue; } ;;
		22:5*)
			faults=$((faults + 1))
			[ "$faults" -gt 1 ] || { sleep 2; continue; } ;;
		22:*) ;;
		*) [ "$(size "$part")" -le "$before" ] || [ "$attempt" -ge 10 ] || continue ;;
		esac
		die "$url cannot be downloaded: ${answer#* }"
	done
}

# size FILE: its bytes; 0 where there is none.
size() { stat -c %s "$1" 2>/dev/null || echo 0; }

# sha256_is SUM FILE: a CHECK for fetch.
sha256_is() {
	[ "$(sha256sum <"$2")" = "$1  -" ] || { echo "its SHA256 is not $1"; return 1; }
}

# fetch_small URL FILE: a file that cannot be checked by itself, so what an earlier
# run left of it is not gone on with.
fetch_small() {
	rm -f "$CACHE/downloads/${2##*/}.part"
	fetch "$1" "$2" true
}
