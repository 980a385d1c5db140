#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Python: threads with everything that threading and queue have, and processes.
. "$(dirname "$0")/lib.sh"
measured /usr/bin/python3 "$here/src/python/threads.py"
