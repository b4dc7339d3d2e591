//! Who else can write a file that runs with root's privileges.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::{fs, io};

use crate::trace;

/// The bit of a folder in which only the owner of a file can replace it (inode(7)).
const STICKY: u32 = 0o1000;

/// Warns of a file that another user than root can write or replace, where this process is root's.
pub(super) fn warn_of_writers(file: &Path, user: u32) {
    if user != 0 {
        return;
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    for path in [file, folder] {
        if let Ok(Some(who)) = writer(path) {
            trace::warning!(
                "The configuration file {} runs as root, but {who} can write {}",
                file.display(),
                path.display()
            );
        }
    }
}

/// Who besides root can write a file, or replace what is in a folder.
fn writer(path: &Path) -> io::Result<Option<String>> {
    let facts = fs::metadata(path)?;
    let mode = facts.permissions().mode();
    let sticky = facts.is_dir() && mode & STICKY != 0;
    Ok(if mode & 0o002 != 0 && !sticky {
        Some("every user".to_owned())
    } else if mode & 0o020 != 0 && facts.gid() != 0 && !sticky {
        Some(format!("the group {}", facts.gid()))
    } else if mode & 0o200 != 0 && facts.uid() != 0 {
        Some(format!("the user {}", facts.uid()))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_write_names_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, found) in [
            (0o600, None),
            (0o644, None),
            (0o646, Some("every user".to_owned())),
        ] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let user = file.as_file().metadata().unwrap().uid();
            let owned = (user != 0).then(|| format!("the user {user}"));
            assert_eq!(writer(file.path()).unwrap(), found.or(owned), "{mode:o}");
        }
        assert_eq!(writer(Path::new("/tmp")).unwrap(), None);
    }
}
