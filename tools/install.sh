#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# install.sh PREFIX: builds rfutexctl, as one file that needs no libraries, and
# installs it with its man pages and what shells complete with, below
# $DESTDIR$PREFIX; and, where it works, the library that `rfutexctl run` loads into
# programs. PROFILE names the profile of cargo.

set -euo pipefail
[ $# = 1 ] || {
	echo "usage: install.sh PREFIX" >&2
	exit 1
}
to=${DESTDIR-}$1
[[ $to = /* ]] || to=$PWD/$to
cd "$(dirname "$0")"

profile=${PROFILE:-release}
target=$(rustc -vV | sed -n 's/^host: //p')
# For other targets, the programs of this workspace need not be static.
grep -qs "^\[target\.$target\]" .cargo/config.toml ||
	export RUSTFLAGS='-C target-feature=+crt-static'
cargo build --profile "$profile" --locked --target "$target" -p rfutex-ctl
# cargo has another name for the directory of its own default.
[ "$profile" != dev ] || profile=debug
program=../build/target/$target/$profile/rfutexctl
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$program" man "$made"

install -D -m 755 "$program" "$to/bin/rfutexctl"
install -d "$to/share/man/man1"
install -m 644 "$made"/*.1 "$to/share/man/man1"
while read -r shell file; do
	"$program" completions "$shell" >"$made/$shell"
	install -D -m 644 "$made/$shell" "$to/share/$file"
done <<'EOF'
bash bash-completion/completions/rfutexctl
zsh zsh/site-functions/_rfutexctl
fish fish/vendor_completions.d/rfutexctl.fish
EOF

# It is dynamic, as the programs are into which it is loaded.
[ "$target" = x86_64-unknown-linux-gnu ] || exit 0
RUSTFLAGS=-Ctarget-feature=-crt-static cargo rustc --locked --target "$target" \
	--target-dir ../build/preload -p rfutex-preload --lib --crate-type cdylib \
	--profile preload -- -Clink-arg=-Wl,-z,initfirst
install -D -m 644 "../build/preload/$target/preload/librfutex_preload.so" \
	"$to/lib/rfutex/librfutex_preload.so"
