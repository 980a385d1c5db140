#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# A Java virtual machine: threads of a program's own, and those that compile and that
# collect garbage.
. "$(dirname "$0")/lib.sh"
measured java -Xmx256m -XX:+UseParallelGC -XX:ParallelGCThreads=2 -Xshare:auto -cp "$here/built" Threads
