// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a call can fail with.

use std::io;

/// Why a call failed. Each variant is one errno of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `EAGAIN`: the word did not have the expected value.
    #[error("the word has another value")]
    Again,
    /// `ETIMEDOUT`: the deadline passed.
    #[error("the deadline passed")]
    TimedOut,
    /// `EINTR`: a signal handler ran that was installed without `SA_RESTART`.
    /// (See [`Rfutex::swap`](crate::Rfutex::swap) for what else can interrupt.)
    #[error("interrupted by a signal")]
    Interrupted,
    /// `EFAULT`: there is no memory at this address on which threads can meet.
    #[error("no usable memory at this address")]
    Fault,
    /// `EINVAL`: an argument is wrong: a misaligned address, an unknown size, a
    /// zero mask, a value too large for the word, a negative deadline. Or the
    /// call would move waiters of another process where they must not be moved.
    #[error("invalid argument")]
    Invalid,
    /// `EOWNERDEAD`: the owner that the wait names has ended.
    #[error("the owner has ended")]
    OwnerEnded,
    /// `EDEADLK`: the owner that the wait names is the caller.
    #[error("the caller would wait for itself")]
    Deadlock,
    /// `ENOTTY`: the module does not know the command.
    #[error("not supported by this module")]
    Unsupported,
    /// `EOPNOTSUPP`: the module was built without it.
    #[error("not in this build of the module")]
    NotBuilt,
    /// Any other errno, for instance from opening the device.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
}

impl Error {
    /// The error with this number.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            libc::EAGAIN => Self::Again,
            libc::ETIMEDOUT => Self::TimedOut,
            libc::EINTR => Self::Interrupted,
            libc::EFAULT => Self::Fault,
            libc::EINVAL => Self::Invalid,
            libc::EOWNERDEAD => Self::OwnerEnded,
            libc::EDEADLK => Self::Deadlock,
            libc::ENOTTY => Self::Unsupported,
            libc::EOPNOTSUPP => Self::NotBuilt,
            other => Self::Os(other),
        }
    }

    /// The number of this error.
    pub fn errno(self) -> i32 {
        match self {
            Self::Again => libc::EAGAIN,
            Self::TimedOut => libc::ETIMEDOUT,
            Self::Interrupted => libc::EINTR,
            Self::Fault => libc::EFAULT,
            Self::Invalid => libc::EINVAL,
            Self::OwnerEnded => libc::EOWNERDEAD,
            Self::Deadlock => libc::EDEADLK,
            Self::Unsupported => libc::ENOTTY,
            Self::NotBuilt => libc::EOPNOTSUPP,
            Self::Os(other) => other,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::from_raw_os_error(error.errno())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::from_errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_there_and_back() {
        for errno in 1..134 {
            assert_eq!(Error::from_errno(errno).errno(), errno);
        }
    }
}
