//! [`Appended`]: a file that is opened to be appended to, also by root in folders that others may write to.
//!
//! Root may open everything, so a user that can put a link into the path chooses the file that root
//! opens. The rule, after the one of
//! the kernel for sticky folders (`protected_symlinks`, `proc_sys_fs(5)`): root follows the links of root, and no others.
//! Whether a file may be given to a user is another question: what root owns could have been moved to where it is.
//!
//! ```text
//!   / ──▶ folder ──▶ link of root ──▶ where it leads ──▶ … ──▶ the file: made, or there already
//!            │            └ of procfs: the kernel's own, followed by the kernel
//!            └ safe as long as each belongs to root and no other user may write to it
//! ```
//!
//! *Invariant*: of a name that is looked at, nothing is used but what was looked at.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, absolute};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::geteuid;

/// How many links a path may have (`path_resolution(7)`).
const LINKS: usize = 40;
/// How often a file may come and go while it is being opened.
const ATTEMPTS: usize = 16;

#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) file: File,
    /// Whether this call has made it.
    pub(crate) made: bool,
    /// Whether root alone could have put it there.
    pub(crate) safe: bool,
}

impl Appended {
    /// Opens `path`, and makes it if it is not there: each write goes to its end, whichever process has written
    /// there (open(2)).
    ///
    /// # Errors
    ///
    /// Where the system says so, and for root where a link of another user is in the way.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if geteuid().is_root() {
            return walk(path);
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            file,
            made: false,
            safe: false,
        })
    }
}

/// What leads to a folder or to a link, and can be asked about either.
fn look(folder: &OwnedFd, name: &OsStr, flags: OFlag) -> nix::Result<(OwnedFd, FileStat)> {
    let flags = flags | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let found = openat(folder, name, flags, Mode::empty())?;
    let facts = fstat(&found)?;
    Ok((found, facts))
}

fn is(facts: &FileStat, kind: SFlag) -> bool {
    facts.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// Whether only root can change what is in a folder.
fn is_private(facts: &FileStat) -> bool {
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    facts.st_uid == 0 && facts.st_mode & others.bits() == 0
}

fn walk(path: &Path) -> io::Result<Appended> {
    let mut left = parts(&absolute(path)?);
    let root = openat(
        AT_FDCWD,
        "/",
        OFlag::O_PATH | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let mut folder = root.try_clone()?;
    let mut safe = is_private(&fstat(&root)?);
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == "/" {
            folder = root.try_clone()?;
            continue;
        }
        let (found, facts) = match look(&folder, &part, OFlag::O_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::ENOENT) if left.is_empty() => return open_in(&folder, &part, safe),
            Err(errno) => return Err(errno.into()),
        };
        if is(&facts, SFlag::S_IFLNK) {
            if fstatfs(&folder)?.filesystem_type() == PROC_SUPER_MAGIC {
                // Those that lead to what a process has open can be followed by the kernel alone.
                if left.is_empty() {
                    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CLOEXEC;
                    let file = openat(&folder, &*part, flags | OFlag::O_NOCTTY, Mode::empty())?;
                    return Ok(Appended {
                        file: file.into(),
                        made: false,
                        safe: false,
                    });
                }
                (folder, _) = look(&folder, &part, OFlag::O_DIRECTORY)?;
                safe = false;
                continue;
            }
            // A second name could be another user's.
            if facts.st_uid != 0 || facts.st_nlink > 1 {
                return Err(refused(&part, &facts));
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::ELOOP.into());
            }
            let mut target = parts(Path::new(&readlinkat(&found, "")?));
            target.append(&mut left);
            left = target;
        } else if left.is_empty() {
            return open_in(&folder, &part, safe);
        } else {
            safe &= is_private(&facts);
            folder = found;
        }
    }
    Err(Errno::EISDIR.into())
}

/// The parts of a path, `/` and `..` among them.
fn parts(path: &Path) -> VecDeque<OsString> {
    let components = path.components();
    let parts = components.filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

fn refused(name: &OsStr, facts: &FileStat) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "root follows no links but root's own, and the link {} belongs to user {}",
            Path::new(name).display(),
            facts.st_uid
        ),
    )
}

/// Opens the file of that name, which is no link.
fn open_in(folder: &OwnedFd, name: &OsStr, safe: bool) -> io::Result<Appended> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mut made = true;
    for _ in 0..ATTEMPTS {
        let new = OFlag::O_CREAT | OFlag::O_EXCL;
        let flags = if made { flags | new } else { flags };
        match openat(folder, name, flags, Mode::from_bits_truncate(0o666)) {
            Ok(file) => {
                let file = file.into();
                return Ok(Appended { file, made, safe });
            }
            // It has come meanwhile, or it has gone.
            Err(Errno::EEXIST) if made => made = false,
            Err(Errno::ENOENT) if !made => made = true,
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::Error::other("it comes and goes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    /// The user whose folder it is.
    const SOMEBODY: u32 = 65534;

    fn write(path: &Path, text: &str) -> io::Result<Appended> {
        let mut opened = walk(path)?;
        opened.file.write_all(text.as_bytes())?;
        Ok(opened)
    }

    #[test]
    fn what_is_made_is_told_from_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(write(&path, "one\n").unwrap().made);
        assert!(!write(&path, "two\n").unwrap().made);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert!(walk(folder.path()).is_err());
        assert!(walk(&folder.path().join("no/log")).is_err());
    }

    #[test]
    fn links_of_root_are_followed_and_others_are_not() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("folder")).unwrap();
        symlink("../link", at("real/up")).unwrap();
        symlink(at("folder/target"), at("link")).unwrap();
        for path in ["link", "folder/../link", "folder/up"] {
            write(&at(path), "x").unwrap();
        }
        assert_eq!(fs::read_to_string(at("real/target")).unwrap(), "xxx");
        for link in ["folder", "link"] {
            lchown(at(link), Some(SOMEBODY), None).unwrap();
            let error = write(&at("link"), "y").unwrap_err();
            assert!(error.to_string().contains("65534"), "{error}");
            lchown(at(link), Some(0), None).unwrap();
        }
        symlink("loop", at("loop")).unwrap();
        assert!(walk(&at("loop")).is_err());
        assert_eq!(fs::read_to_string(at("real/target")).unwrap(), "xxx");
    }

    #[test]
    fn what_a_process_has_open_can_be_named() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let own = format!("/proc/self/fd/{}", writer.as_raw_fd());
        write(Path::new(&own), "x").unwrap();
        let mut byte = [0];
        assert_eq!(nix::unistd::read(&reader, &mut byte), Ok(1));
    }

    #[test]
    fn a_path_is_safe_where_nobody_else_may_change_its_folders() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir_in("/run").or_else(|_| tempfile::tempdir_in("/"));
        let folder = folder.unwrap();
        let path = folder.path().join("log");
        assert!(walk(&path).unwrap().safe);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o775)).unwrap();
        assert!(!walk(&path).unwrap().safe);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        lchown(&folder, Some(SOMEBODY), None).unwrap();
        assert!(!walk(&path).unwrap().safe);
    }
}
