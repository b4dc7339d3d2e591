//! [`Pinned`]: a file that was inspected, and is changed as that same file: another one under its name is not touched.
//!
//! A user that may write to a folder can put another file under a name between two calls. Root would then give away that
//! other file.
//!
//! *Invariant*: nothing is changed by a name that others may have given to another file.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat};
use nix::unistd::{Gid, Uid, fchownat, geteuid};

use super::identity::Identity;

/// A file that this process has just made.
#[derive(Debug)]
pub(crate) struct Pinned {
    file: OwnedFd,
    facts: FileStat,
    /// The path that it was opened by.
    path: PathBuf,
}

impl Pinned {
    /// The file of a socket that was bound to `path`.
    ///
    /// # Errors
    ///
    /// Where it is no new socket of this user by now.
    pub(crate) fn new_socket(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = open(path, flags, Mode::empty())?;
        let facts = fstat(&file)?;
        let is_socket = facts.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits();
        if !is_socket || facts.st_uid != geteuid().as_raw() || facts.st_nlink != 1 {
            return Err(io::Error::other("another file has taken its place"));
        }
        let path = path.to_owned();
        Ok(Self { file, facts, path })
    }

    /// Which file it is.
    pub(crate) fn identity(&self) -> Identity {
        (&self.facts).into()
    }

    /// Gives it to a user and a group.
    pub(crate) fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        fchownat(&self.file, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        Ok(())
    }

    /// Sets its permissions: by the file itself, where the kernel can (6.6 and later), else by the name that procfs has
    /// for it, else by its own name, where no other user could have changed that.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode);
        self.set_mode_of_file(mode)
            .or_else(|_| self.set_mode_by_procfs(mode))
            .or_else(|_| self.set_mode_by_name(mode))
    }

    fn set_mode_of_file(&self, mode: Mode) -> io::Result<()> {
        // The number of all architectures that Rust's standard library is for, but for MIPS, where it is no call.
        const FCHMODAT2: libc::c_long = 452;
        // SAFETY: fchmodat2(2) reads an empty string, and touches no other memory.
        let outcome = unsafe {
            libc::syscall(
                FCHMODAT2,
                self.file.as_raw_fd(),
                c"".as_ptr(),
                mode.bits(),
                libc::AT_EMPTY_PATH,
            )
        };
        Errno::result(outcome)?;
        Ok(())
    }

    fn set_mode_by_procfs(&self, mode: Mode) -> io::Result<()> {
        let name = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        fchmodat(AT_FDCWD, &*name, mode, FchmodatFlags::FollowSymlink)?;
        Ok(())
    }

    fn set_mode_by_name(&self, mode: Mode) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = fs::metadata(folder)?;
        if folder.uid() != geteuid().as_raw() || folder.mode() & 0o022 != 0 {
            return Err(io::Error::other(
                "others may write to its folder, and neither this kernel nor procfs can tell its file for certain",
            ));
        }
        fchmodat(AT_FDCWD, &self.path, mode, FchmodatFlags::FollowSymlink)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_changed_is_the_file_and_not_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("s"), folder.path().join("moved"));
        let _socket = UnixListener::bind(&path).unwrap();
        let file = Pinned::new_socket(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, "another").unwrap();
        let before = fs::metadata(&path).unwrap();
        file.set_mode(0o612).unwrap();
        if geteuid().is_root() {
            file.set_owner(7, 8).unwrap();
            let facts = fs::metadata(&moved).unwrap();
            assert_eq!((facts.uid(), facts.gid()), (7, 8));
        }
        assert_eq!(mode(&moved), 0o612);
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
    }

    #[test]
    fn each_way_to_set_a_mode_works_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _socket = UnixListener::bind(&path).unwrap();
        let file = Pinned::new_socket(&path).unwrap();
        let by = |set: &dyn Fn(Mode) -> io::Result<()>, wanted| {
            set(Mode::from_bits_truncate(wanted)).map(|()| assert_eq!(mode(&path), wanted))
        };
        // Older kernels cannot.
        let _ = by(&|mode| file.set_mode_of_file(mode), 0o611);
        by(&|mode| file.set_mode_by_procfs(mode), 0o622).unwrap();
        by(&|mode| file.set_mode_by_name(mode), 0o633).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(by(&|mode| file.set_mode_by_name(mode), 0o644).is_err());
    }

    #[test]
    fn a_file_that_has_taken_the_sockets_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, second) = (folder.path().join("s"), folder.path().join("second"));
        fs::write(&path, "").unwrap();
        assert!(Pinned::new_socket(&path).is_err());
        fs::remove_file(&path).unwrap();
        let _socket = UnixListener::bind(&path).unwrap();
        fs::hard_link(&path, &second).unwrap();
        assert!(Pinned::new_socket(&path).is_err());
        fs::remove_file(&second).unwrap();
        std::os::unix::fs::symlink(&path, &second).unwrap();
        assert!(Pinned::new_socket(&second).is_err());
        assert!(Pinned::new_socket(&path).is_ok());
    }
}
