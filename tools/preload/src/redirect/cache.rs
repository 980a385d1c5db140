// SPDX-License-Identifier: GPL-2.0
//! Code that was made before, in a directory: to make it means to decode all of a library, which
//! takes longer than many a program.
//!
//! It is found by what tells that a library is the same file as then: its number, its size, when it
//! was changed, and its program headers; and by what made the code. Nobody else may have written
//! it: neither the directory nor a file in it is used if it belongs to another user than this one,
//! or root. What is wrong about either is no error; the code is then made anew.

use super::WANTED;
use super::call::{File, call};
use super::objects::Object;
use core::ffi::{CStr, c_long};
use core::mem::MaybeUninit;
use core::ops::Range;
use std::ffi::CString;
use std::sync::OnceLock;

/// What the code was made by, and the form in which it is kept. See `build.rs`.
const MAKER: u64 = include!(concat!(env!("OUT_DIR"), "/version"));

/// The largest file that is looked at, in bytes.
const LARGEST: usize = 1 << 20;

/// A file that was changed less than so many seconds ago may change again without that showing.
const SETTLED: i64 = 2;

/// The directory.
static DIRECTORY: OnceLock<CString> = OnceLock::new();

/// Has code looked for, and kept, in this directory.
pub(crate) fn enable(directory: &[u8]) {
    if let Ok(directory) = CString::new(directory)
        && directory.as_bytes().starts_with(b"/")
    {
        // There is one environment.
        let _ = DIRECTORY.set(directory);
    }
}

/// The directory in which the process is.
pub(super) const HERE: c_long = libc::AT_FDCWD as c_long;

impl File {
    /// Opens `name`, in the directory `at` if it is relative.
    fn open(at: c_long, name: &CStr, flags: i32) -> Option<Self> {
        let flags = flags | libc::O_CLOEXEC;
        let name = name.as_ptr().addr() as c_long;
        // SAFETY: Takes a string.
        let file = unsafe { call(libc::SYS_openat, &[at, name, flags.into(), 0o644]) };
        file.ok().map(Self)
    }

    fn status(&self) -> Option<libc::stat> {
        status(self.0, c"", libc::AT_EMPTY_PATH)
    }

    /// Reads this many bytes, all in one.
    fn read(&self, size: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::<u8>::with_capacity(size);
        let at = bytes.as_mut_ptr().addr() as c_long;
        // SAFETY: The kernel writes to these bytes, and they are there once it has.
        unsafe {
            let read = call(libc::SYS_read, &[self.0, at, size as c_long]);
            (read == Ok(size as c_long)).then_some(())?;
            bytes.set_len(size);
        }
        Some(bytes)
    }
}

/// What stat(2) says of the file `name`, in the directory `at` if it is relative.
pub(super) fn status(at: c_long, name: &CStr, flags: i32) -> Option<libc::stat> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let (name, to) = (name.as_ptr().addr(), status.as_mut_ptr().addr());
    let args = [at, name as c_long, to as c_long, flags.into()];
    // SAFETY: Takes a string, and writes the status, which has the kernel's form.
    unsafe {
        call(libc::SYS_newfstatat, &args).ok()?;
        Some(status.assume_init())
    }
}

/// Whether nobody but this user or root can have written this.
fn is_trusted(status: &libc::stat) -> bool {
    // SAFETY: Touches nothing.
    let own = unsafe { call(libc::SYS_geteuid, &[]) };
    let owner = c_long::from(status.st_uid);
    (owner == 0 || own == Ok(owner)) && status.st_mode & 0o022 == 0
}

/// The directory, and what tells which files are mapped.
pub(super) struct Cache {
    directory: File,
    maps: File,
}

/// The place of the code for a library.
pub(super) struct Entry<'a> {
    directory: &'a File,
    name: CString,
    key: Vec<u64>,
    /// When the library was changed, in seconds.
    changed: i64,
}

impl Cache {
    /// Opens it. `None` if there is none.
    pub(super) fn open() -> Option<Self> {
        let directory = DIRECTORY.get()?;
        let directory = File::open(HERE, directory, libc::O_PATH | libc::O_DIRECTORY)?;
        is_trusted(&directory.status()?).then_some(())?;
        let maps = File::open(HERE, c"/proc/self/maps", libc::O_RDONLY)?;
        Some(Self { directory, maps })
    }

    /// The place of the code for this library, and for the hook of what is at `breakpoint` in it.
    /// `None` if there is none.
    pub(super) fn entry(&self, object: &Object, breakpoint: Option<u64>) -> Option<Entry<'_>> {
        let code = object.code()?;
        let file = status(HERE, &object.file()?, 0)?;
        // It may be another file under this name by now.
        (mapped(&self.maps, code.start)? == file.st_ino).then_some(())?;
        let mut key = vec![
            MAKER,
            file.st_dev,
            file.st_ino,
            file.st_size as u64,
            file.st_mtime as u64,
            file.st_mtime_nsec as u64,
            file.st_ctime as u64,
            file.st_ctime_nsec as u64,
            breakpoint.map_or(0, |address| address.wrapping_sub(object.bias())),
        ];
        key.extend(WANTED.map(u64::from));
        key.extend(object.header_words());
        Some(Entry {
            directory: &self.directory,
            name: CString::new(format!("{:016x}", sum(key.iter().copied()))).ok()?,
            key,
            changed: file.st_ctime,
        })
    }
}

/// What was kept.
pub(super) struct Kept {
    file: Vec<u8>,
    content: Range<usize>,
}

impl Kept {
    /// What [`Entry::store`] was given.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.file[self.content.clone()]
    }
}

impl Entry<'_> {
    /// What a file begins with: how much there is of the key, and behind it, and the key.
    fn head(&self, length: usize) -> impl Iterator<Item = u64> {
        let lengths = [self.key.len(), length].map(|length| length as u64);
        lengths.into_iter().chain(self.key.iter().copied())
    }

    /// What was kept there.
    pub(super) fn load(&self) -> Option<Kept> {
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::open(self.directory.0, &self.name, flags)?;
        let status = file.status()?;
        let regular = status.st_mode & libc::S_IFMT == libc::S_IFREG;
        (regular && is_trusted(&status)).then_some(())?;
        let size = usize::try_from(status.st_size).ok()?;
        (size <= LARGEST).then_some(())?;
        let file = file.read(size)?;
        let (rest, last) = file.split_last_chunk()?;
        (rest.len() % WORD == 0 && sum(words(rest)) == u64::from_le_bytes(*last)).then_some(())?;
        let head = WORD * self.head(0).count();
        let length = rest.len().checked_sub(head)?;
        let same = words(&rest[..head]).eq(self.head(length));
        let content = head..rest.len();
        same.then_some(Kept { file, content })
    }

    /// Keeps `bytes` there, if that can be done. They are a multiple of eight.
    pub(super) fn store(&self, bytes: &[u8]) {
        if now().is_none_or(|now| now - self.changed < SETTLED) {
            return;
        }
        debug_assert_eq!(bytes.len() % WORD, 0);
        let head = self.head(bytes.len()).flat_map(u64::to_le_bytes);
        let mut bytes: Vec<u8> = head.chain(bytes.iter().copied()).collect();
        bytes.extend(sum(words(&bytes)).to_le_bytes());
        // SAFETY: Touches nothing.
        let process = unsafe { call(libc::SYS_getpid, &[]) }.unwrap_or_default();
        let name = self.name.to_string_lossy();
        let Ok(temporary) = CString::new(format!("{name}.{process}")) else {
            return;
        };
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let Some(file) = File::open(self.directory.0, &temporary, flags) else {
            return;
        };
        let directory = self.directory.0;
        let from = temporary.as_ptr().addr() as c_long;
        let to = self.name.as_ptr().addr() as c_long;
        let at = bytes.as_ptr().addr() as c_long;
        // SAFETY: Reads the bytes, and takes strings.
        unsafe {
            let wrote = call(libc::SYS_write, &[file.0, at, bytes.len() as c_long]);
            let whole = wrote == Ok(bytes.len() as c_long);
            let kept = whole && call(libc::SYS_renameat, &[directory, from, directory, to]).is_ok();
            if !kept {
                let _ = call(libc::SYS_unlinkat, &[directory, from, 0]);
            }
        }
    }
}

/// The kernel's `struct procmap_query`.
#[derive(Default)]
#[repr(C)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    protection: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// `PROCMAP_QUERY`, which any kernel has that has our device.
const QUERY: libc::Ioctl = libc::_IOWR::<Query>(b'f' as u32, 17);

/// The number of the file that is mapped at `address`; `maps` is `/proc/self/maps`.
fn mapped(maps: &File, address: u64) -> Option<u64> {
    let mut query = Query {
        size: size_of::<Query>() as u64,
        address,
        ..Query::default()
    };
    let to = (&raw mut query).addr() as c_long;
    // SAFETY: Reads and writes the query, which has no room for names.
    unsafe { call(libc::SYS_ioctl, &[maps.0, QUERY as c_long, to]) }.ok()?;
    Some(query.inode)
}

/// The time, in seconds.
fn now() -> Option<i64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let to = (&raw mut time).addr() as c_long;
    // SAFETY: Writes the time.
    unsafe { call(libc::SYS_clock_gettime, &[libc::CLOCK_REALTIME.into(), to]) }.ok()?;
    Some(time.tv_sec)
}

/// The size of the numbers of which a file consists.
const WORD: usize = size_of::<u64>();

/// These numbers.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .chunks_exact(WORD)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
}

/// A checksum (FNV-1a, word by word): against what was written in part, not against anybody.
fn sum(words: impl IntoIterator<Item = u64>) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    words.into_iter().fold(BASIS, |sum, word| {
        let mixed = (sum ^ word).wrapping_mul(PRIME);
        mixed ^ mixed >> 32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_file_is_mapped() {
        let maps = File::open(HERE, c"/proc/self/maps", libc::O_RDONLY).unwrap();
        let own = (which_file_is_mapped as *const ()).addr() as u64;
        let exe = status(HERE, c"/proc/self/exe", 0).unwrap();
        assert_eq!(mapped(&maps, own), Some(exe.st_ino));
        let heap = Box::new(0);
        assert_eq!(mapped(&maps, (&raw const *heap).addr() as u64), Some(0));
        assert_eq!(mapped(&maps, 0), None);
    }

    #[test]
    fn others_are_not_trusted() {
        let mut own = status(HERE, c"/proc/self", 0).unwrap();
        own.st_mode = 0o755;
        assert!(is_trusted(&own));
        own.st_mode = 0o775;
        assert!(!is_trusted(&own));
        own.st_mode = 0o700;
        own.st_uid = own.st_uid.wrapping_add(1);
        assert!(!is_trusted(&own));
    }

    /// An open directory.
    fn opened(directory: &tempfile::TempDir) -> File {
        let path = CString::new(directory.path().to_str().unwrap()).unwrap();
        File::open(HERE, &path, libc::O_PATH | libc::O_DIRECTORY).unwrap()
    }

    /// A place in the directory.
    fn entry<'a>(directory: &'a File, key: &[u64]) -> Entry<'a> {
        Entry {
            directory,
            name: c"name".to_owned(),
            key: key.to_vec(),
            changed: 0,
        }
    }

    fn load(entry: &Entry<'_>) -> Option<Vec<u8>> {
        Some(entry.load()?.bytes().to_vec())
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let opened = opened(&directory);
        let own = entry(&opened, &[1, 2]);
        assert_eq!(load(&own), None);
        let content: Vec<u8> = (0..64).collect();
        own.store(&content);
        assert_eq!(load(&own), Some(content.clone()));
        // It was kept for another library, or by another planner.
        assert_eq!(load(&entry(&opened, &[1, 3])), None);
        assert_eq!(load(&entry(&opened, &[1])), None);
        let longer = entry(&opened, &[1, 2, 0x0706_0504_0302_0100]);
        assert_eq!(load(&longer), None);
        own.store(&[]);
        assert_eq!(load(&own), Some(Vec::new()));
        let soon = now().unwrap();
        Entry {
            changed: soon,
            ..entry(&opened, &[1, 2])
        }
        .store(&content);
        assert_eq!(load(&own), Some(Vec::new()), "the library may change again");
        let names: Vec<_> = std::fs::read_dir(&directory).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn what_is_damaged_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let opened = opened(&directory);
        let own = entry(&opened, &[1, 2]);
        own.store(&[7; 64]);
        let file = directory.path().join("name");
        let good = std::fs::read(&file).unwrap();
        for length in 0..good.len() {
            std::fs::write(&file, &good[..length]).unwrap();
            assert_eq!(load(&own), None, "{length} bytes");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&file, &bad).unwrap();
            assert_eq!(load(&own), None, "byte {at}");
        }
        std::fs::write(&file, [&good[..], &[0; 8]].concat()).unwrap();
        assert_eq!(load(&own), None, "more");
        std::fs::write(&file, &good).unwrap();
        assert_eq!(load(&own), Some(vec![7; 64]));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(load(&own), None, "others may write to it");
    }

    #[test]
    fn sums_differ() {
        assert_ne!(sum([1, 2]), sum([2, 1]));
        assert_ne!(sum([]), sum([0]));
    }
}
