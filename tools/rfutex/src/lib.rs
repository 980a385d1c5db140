// SPDX-License-Identifier: MIT OR Apache-2.0
//! Safe access to /dev/rfutex.
