# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the plugin of QEMU that counts how cache lines move. Sourced, after setup,
# by vm.sh.

# lines_plugin: builds it and prints where it is. It needs nothing but the C library.
lines_plugin() {
	local plugin=$TOP/build/lines/lines.so source=$TOP/tools/lines
	mkdir -p "$(dirname "$plugin")"
	locked with_spinner plugin "$TOP/build/lines/build.log" \
		gcc -std=gnu11 -O2 -g -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror \
		-o "$plugin" "$source/plugin.c" "$source/model.c" -pthread
	printf '%s\n' "$plugin"
}
