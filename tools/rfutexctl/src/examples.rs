// SPDX-License-Identifier: GPL-2.0
//! The examples of the help and of the man pages.
//!
//! Each line that begins with `$` is run by a selftest as it stands here, in this order, as the
//! commands of one script. A line that ends with `&` is followed by the next one when its waiter
//! waits. The number in `[exit status N]`, at the end of an example, is the last command's.

/// Of `status`.
pub const STATUS: &str = "\
Examples:
  $ rfutexctl status";

/// Of `list`.
pub const LIST: &str = "\
Examples:
  Who waits, and for how long:
  $ rfutexctl list

  Who waits on words of this file:
  $ rfutexctl store --create /dev/shm/list:0 0
  $ rfutexctl list --file /dev/shm/list

  Who has waited on this word for more than a minute, for a program to read:
  $ rfutexctl list --word /dev/shm/list:0 --older-than 1m --json

  What the threads of this shell wait for:
  $ rfutexctl list --process $$";

/// Of `top`.
pub const TOP: &str = "\
Examples:
  $ rfutexctl top

  Keys: up and down choose, Enter opens a word and Esc closes it. w, p and o show words, processes,
  and the oldest waiters. s changes the order. / asks for a part of a name to show only what has
  it. q and Ctrl-C end the program, and so does the end of the module.

  Wakes a second are counted by trace events. Without permission for these (or without tracefs) the
  column is not there, and a line says so.";

/// Of `doctor`.
pub const DOCTOR: &str = "\
Examples:
  Two waiters on one word, of which the first has made a mistake:
  $ rfutexctl store --create /dev/shm/doctor:0 0
  $ rfutexctl wait /dev/shm/doctor:0 0 --private &
  $ rfutexctl wait /dev/shm/doctor:0 0 &
  $ rfutexctl doctor
  [exit status 3]

  What is looked for:
    do-not-meet  two waiters on words that look the same and are not: private and shared, before
                 and after the copy of a file by overlayfs, copies after a fork, two tables
    cycle        threads that wait for each other, by the owners that their waits name
    changed      a waiter that has waited for --older-than and whose word has another value
    unmounted    a waiter that keeps a file system from being shut down (hold=inode)

  Only waiters that the caller may see are looked at, and their memory only if the caller may
  trace them.";

/// Of `key`.
pub const KEY: &str = "\
Examples:
  $ rfutexctl store --create /dev/shm/key:0 0
  $ rfutexctl key /dev/shm/key:0

  Where this shell has its first mapping:
  $ rfutexctl key --pid $$ $(head -n 1 /proc/$$/maps | cut -d - -f 1)";

/// Of `trace`.
pub const TRACE: &str = "\
Examples:
  The next wake:
  $ rfutexctl store --create /dev/shm/trace:0 0
  $ while sleep 0.1; do rfutexctl wake /dev/shm/trace:0 >/dev/null; done &
  $ rfutexctl trace --event rfutex_wake --count 1";

/// Of `run`.
pub const RUN: &str = "\
Examples:
  A program on rfutex; `rfutexctl list` and `rfutexctl top` show meanwhile who waits in it:
  $ rfutexctl run -- /usr/bin/sort /etc/passwd

  What is redirected in it, and at the end what was called:
  $ rfutexctl run --report -- /usr/bin/sort /etc/passwd 2>/dev/shm/report";

/// Of `wait`.
pub const WAIT: &str = "\
Examples:
  Two scripts meet on a word. The one waits until the other has stored 1:
  $ rfutexctl store --create /dev/shm/wait:0 0
  $ while [ $(rfutexctl load /dev/shm/wait:0) = 0 ]; do rfutexctl wait /dev/shm/wait:0 0; done &
  $ rfutexctl store /dev/shm/wait:0 1 --wake
  $ wait

  The word has another value than 0 already:
  $ rfutexctl wait /dev/shm/wait:0 0
  [exit status 3]

  Nobody wakes within 100 ms:
  $ rfutexctl wait /dev/shm/wait:0 1 --timeout 100ms
  [exit status 4]";

/// Of `wake`.
pub const WAKE: &str = "\
Examples:
  $ rfutexctl store --create /dev/shm/wake:8 0 --size 8
  $ rfutexctl wait /dev/shm/wake:8 0 --size 8 --mask 2 &
  $ rfutexctl wake /dev/shm/wake:8 1 --mask 6
  $ wait";

/// Of `store`.
pub const STORE: &str = "\
Examples:
  A lock: 0 is free, 1 is taken.
  $ rfutexctl store --create /dev/shm/store:0 0
  $ until rfutexctl store /dev/shm/store:0 1 --if 0; do rfutexctl wait /dev/shm/store:0 1; done
  $ rfutexctl store /dev/shm/store:0 0 --wake=1

  It is not free:
  $ rfutexctl store /dev/shm/store:0 1 --if 0
  $ rfutexctl store /dev/shm/store:0 1 --if 0
  [exit status 3]";

/// Of `load`.
pub const LOAD: &str = "\
Examples:
  $ rfutexctl store --create /dev/shm/load:0 7
  $ rfutexctl load /dev/shm/load:0";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Examples:
  $ rfutexctl completions bash >/tmp/rfutexctl.bash";
