//! [`open_below`]: a file that lies below a folder, whatever names a stranger gives.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// Opens the file or folder for reading that `names` lead to from the folder `root`: each is a name in the folder that
/// the one before it names. Without names it is the folder itself.
///
/// No symbolic link below `root` is followed, and `root` may be one. So there is no way out of it, also where the tree
/// changes meanwhile.
///
/// # Errors
///
/// As of open(2). It is [`NotFound`](io::ErrorKind::NotFound) for a symbolic link, a socket, and a name that is not one
/// name, such as `..`. An error of `root` itself is in the outer result.
pub(crate) fn open_below<'n>(
    root: &Path,
    names: impl IntoIterator<Item = &'n [u8]>,
) -> io::Result<io::Result<File>> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(root, folder, Mode::empty())?;
    let walk = || {
        let (mut folder, mut names) = (root, names.into_iter().peekable());
        while let Some(name) = names.next() {
            if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
                return Err(io::ErrorKind::NotFound.into());
            }
            let how = match names.peek() {
                Some(_) => OFlag::O_PATH | OFlag::O_DIRECTORY,
                // Opening a pipe would wait for the other end.
                None => OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY,
            };
            let how = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            folder = openat(&folder, OsStr::from_bytes(name), how, Mode::empty())
                .map_err(no_such_file)?;
        }
        Ok(folder.into())
    };
    Ok(walk())
}

/// The error of a name that leads to no file.
fn no_such_file(errno: Errno) -> io::Error {
    match errno {
        Errno::EINVAL | Errno::ELOOP | Errno::ENAMETOOLONG | Errno::ENOTDIR | Errno::ENXIO => {
            io::ErrorKind::NotFound.into()
        }
        errno => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_reached() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/c"), "inside").unwrap();
        fs::write(outer.path().join("secret"), "outside").unwrap();
        symlink("../../secret", root.join("a/link")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("b", root.join("a/d")).unwrap();
        let open = |path: &str| open_below(&root, path.split('/').map(str::as_bytes)).unwrap();
        let mut text = String::new();
        open("a/b/c").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        assert!(open("a/b").unwrap().metadata().unwrap().is_dir());
        for path in [
            "../secret",
            "a/../../secret",
            "a/link",
            "etc/passwd",
            "a/d/c",
            "",
            ".",
            "a//b",
            "a/b/c/x",
            "\0",
            "a/./b",
            "a/b/missing",
        ] {
            let error = open(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path:?}");
        }
        assert!(open_below(&outer.path().join("missing"), []).is_err());
    }
}
