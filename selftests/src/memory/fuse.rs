// SPDX-License-Identifier: GPL-2.0
//! A FUSE file system, served by a process of the test.

use super::{Mount, Region};
use crate::harness::{Child, Mapping, PAGE, until};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, Session, SessionACL, WriteFlags,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// The name of the only file.
const NAME: &str = "file";
const FILE: INodeNo = INodeNo(2);
/// How long the kernel may cache names and attributes.
const TTL: Duration = Duration::from_secs(3600);

/// A mounted FUSE file system with one file.
///
/// The server is a process of its own. When the test's process ends, the kernel writes dirty pages
/// back, and waits for an answer: if the server were a thread of the same process, it could be gone
/// by then, with the device still open.
#[derive(Debug)]
pub struct Fuse {
    // It is killed before the file system is unmounted, since it may be hanging.
    server: Option<Child>,
    mount: Mount,
    control: Arc<Control>,
}

impl Fuse {
    /// Mounts one; its file has `pages` pages of zeros.
    #[track_caller]
    pub fn new(pages: usize) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.expect("/dev/fuse");
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        let mount = Mount::new(Path::new("rfutex"), "fuse", &options);
        let control = Arc::new(Control(Mapping::shared(PAGE)));
        let server = Child::run(|| {
            let server = Server {
                data: Mutex::new(vec![0; pages * PAGE]),
                control: control.clone(),
            };
            let device = device.try_clone().expect("dup");
            let mut config = Config::default();
            // One thread may hang.
            config.n_threads = Some(2);
            Session::from_fd(server, OwnedFd::from(device), SessionACL::Owner, config)
                .and_then(Session::run)
                .expect("a FUSE session");
        });
        Self {
            server: Some(server),
            mount,
            control,
        }
    }

    /// Opens the file.
    #[track_caller]
    pub fn open(&self) -> File {
        let path = self.mount.path().join(NAME);
        let file = File::options().read(true).write(true).open(path);
        file.expect("a file of the server")
    }

    /// Maps all `pages` of the file, shared.
    #[track_caller]
    pub fn map(&self, pages: usize) -> Region {
        Region::shared(self.open(), 0, pages * PAGE)
    }

    /// From now on, the server does not answer when this page is read.
    pub fn hang(&self, page: usize) {
        self.control.hang().store(page as u32 + 1, Ordering::SeqCst);
    }

    /// Returns when somebody reads that page.
    #[track_caller]
    pub fn until_hanging(&self) {
        until("a read hangs", || {
            self.control.hanging().load(Ordering::SeqCst) != 0
        });
    }

    /// Whether nobody reads that page.
    pub fn is_quiet(&self) -> bool {
        self.control.hanging().load(Ordering::SeqCst) == 0
    }

    /// Lets the server answer all reads.
    pub fn go_on(&self) {
        self.control.hang().store(0, Ordering::SeqCst);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        drop(self.server.take());
    }
}

/// Memory that the test shares with the server: the number of the page that hangs, counted from 1,
/// and how many reads of it are hanging.
#[derive(Debug)]
struct Control(Mapping);

impl Control {
    fn hang(&self) -> &AtomicU32 {
        self.0.atomic(0)
    }

    fn hanging(&self) -> &AtomicU32 {
        self.0.atomic(4)
    }

    /// Returns when none of these bytes of the file lies on a page that hangs.
    fn wait(&self, offset: u64, size: u32) {
        let pages = offset / PAGE as u64..(offset + u64::from(size)).div_ceil(PAGE as u64);
        let hangs = || {
            let page = self.hang().load(Ordering::SeqCst);
            page != 0 && pages.contains(&u64::from(page - 1))
        };
        if hangs() {
            self.hanging().fetch_add(1, Ordering::SeqCst);
            while hangs() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.hanging().fetch_sub(1, Ordering::SeqCst);
        }
    }
}

struct Server {
    data: Mutex<Vec<u8>>,
    control: Arc<Control>,
}

impl Server {
    fn with_data<R>(&self, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        f(&mut self.data.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn attr(&self, ino: INodeNo) -> FileAttr {
        let directory = ino == INodeNo::ROOT;
        FileAttr {
            ino,
            size: self.with_data(|data| data.len() as u64),
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if directory {
                FileType::Directory
            } else {
                FileType::RegularFile
            },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: PAGE as u32,
        }
    }
}

impl Filesystem for Server {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Less than a page, which means no readahead.
        let result = config.set_max_readahead(1);
        result
            .map(drop)
            .map_err(|_| io::ErrorKind::Unsupported.into())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&TTL, &self.attr(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attr(ino));
    }

    fn open(&self, _request: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _request: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.control.wait(offset, size);
        self.with_data(|data| {
            let end = data.len().min(offset as usize + size as usize);
            reply.data(data.get(offset as usize..end).unwrap_or_default());
        });
    }

    fn write(
        &self,
        _request: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        written: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.with_data(|data| {
            match data.get_mut(offset as usize..offset as usize + written.len()) {
                Some(place) => {
                    place.copy_from_slice(written);
                    reply.written(written.len() as u32);
                }
                None => reply.error(Errno::EFBIG),
            }
        });
    }
}
