#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# SQLite, with its log and the log's index in memory that processes share (WAL).
. "$(dirname "$0")/lib.sh"
measured /usr/bin/python3 "$here/src/sqlite/wal.py" "$work/database"
