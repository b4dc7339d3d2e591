//! [`Credentials`]: the user and the group of the workers, where they differ from the arbiter's.
//!
//! Nothing is given up that cannot be: what a process may not become is refused before anything is opened. And
//! nothing of the former user is kept, its supplementary groups least of all.
//!
//! *Invariants*: names are looked up once, in the arbiter, so that a worker needs no user database; when
//! [`Credentials::assume`] has returned `Ok` there is no way back.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getppid, getresgid, getresuid, setgid,
    setgroups, setuid,
};

use crate::error::{Error, Result};

/// A user and a group for worker processes, with what belongs to them.
///
/// A [`Server`](crate::Server) assumes them by itself; a worker of your own does so where it thinks fit:
///
/// ```no_run
/// use oxicorn::{Arbiter, Result, WorkerContext};
/// use oxicorn::process::Credentials;
///
/// fn main() -> Result<()> {
///     let nobody = Credentials::resolve(Some("nobody"), None, false)?;
///     let work = move |context: &WorkerContext| {
///         nobody.assume()?;
///         context.ready();
///         Ok(())
///     };
///     Arbiter::builder(work).build()?.run()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Credentials {
    /// Looks up a user and a group, each by its name or its number; what is not given stays as it is, but that
    /// a user comes with the main group of its own.
    ///
    /// The only supplementary group is then the group itself; with `initgroups` there are those of the user
    /// (initgroups(3)).
    ///
    /// # Errors
    ///
    /// [`Error::is_config`]: there is no such user or group, a number without an entry in the user database
    /// was given and what is to be known of it is not, or this process may not become what was asked for.
    pub fn resolve(user: Option<&str>, group: Option<&str>, initgroups: bool) -> Result<Self> {
        let known = user.map(find_user).transpose()?;
        let uid = known.as_ref().map_or_else(geteuid, |known| known.uid);
        let gid = match (group, &known) {
            (Some(group), _) => find_group(group)?,
            (None, None) => getegid(),
            (
                None,
                Some(Known {
                    main: Some(gid), ..
                }),
            ) => *gid,
            (None, Some(Known { uid, .. })) if *uid == geteuid() => getegid(),
            (None, Some(Known { uid, .. })) => {
                return Err(Error::config(format!(
                    "user {uid} has no entry in the user database, so that its group must be said as well"
                )));
            }
        };
        let groups = match (initgroups, &known) {
            (false, _) => vec![gid],
            (
                true,
                Some(Known {
                    name: Some(name), ..
                }),
            ) => getgrouplist(name, gid).map_err(|errno| {
                Error::config(format!(
                    "the user's groups cannot be read: {}",
                    errno.desc()
                ))
            })?,
            (true, _) => {
                return Err(Error::config("initgroups takes a user that has a name"));
            }
        };
        let credentials = Self { uid, gid, groups };
        if credentials.is_change() && !geteuid().is_root() {
            return Err(Error::config(format!(
                "only root can become {uid}:{gid}, and this process is {}:{}",
                geteuid(),
                getegid()
            )));
        }
        Ok(credentials)
    }

    /// The user's number.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// The group's number.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    fn is_change(&self) -> bool {
        self.uid != geteuid() || self.gid != getegid()
    }

    /// Makes this process theirs, for good.
    ///
    /// # Errors
    ///
    /// The system refused, or left a way back. The process should then end: it may be half of both.
    pub fn assume(&self) -> Result<()> {
        if !geteuid().is_root() && !self.is_change() {
            return Ok(());
        }
        let (uid, gid) = (self.uid, self.gid);
        let failed = |what: &str, errno: Errno| {
            Error::io(format_args!("cannot become {uid}:{gid}: {what}"), errno)
        };
        let orphaned = DeathSignal::now();
        // In this order: only root may change the groups.
        setgid(gid).map_err(|errno| failed("setgid", errno))?;
        setgroups(&self.groups).map_err(|errno| failed("setgroups", errno))?;
        setuid(uid).map_err(|errno| failed("setuid", errno))?;
        let users = getresuid().map_err(|errno| failed("getresuid", errno))?;
        let groups = getresgid().map_err(|errno| failed("getresgid", errno))?;
        let whole = [users.real, users.effective, users.saved] == [uid; 3]
            && [groups.real, groups.effective, groups.saved] == [gid; 3];
        if !whole || (!uid.is_root() && setuid(Uid::from_raw(0)).is_ok()) {
            return Err(failed("there is a way back", Errno::EPERM));
        }
        orphaned.renew().map_err(|errno| failed("prctl", errno))
    }
}

/// The signal that tells of the parent's death: a change of the user takes it away (`PR_SET_PDEATHSIG`,
/// prctl(2)).
struct DeathSignal {
    signal: libc::c_int,
    parent: nix::unistd::Pid,
}

impl DeathSignal {
    fn now() -> Self {
        let mut signal: libc::c_int = 0;
        // SAFETY: prctl(2) with this option writes an `int` to where it points.
        unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
        Self {
            signal,
            parent: getppid(),
        }
    }

    fn renew(self) -> nix::Result<()> {
        if self.signal == 0 {
            return Ok(());
        }
        // SAFETY: prctl(2) with this option takes a signal's number, and touches no memory.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, self.signal) })?;
        if getppid() != self.parent {
            // It died in between.
            // SAFETY: raise(3) touches no memory.
            Errno::result(unsafe { libc::raise(self.signal) })?;
        }
        Ok(())
    }
}

struct Known {
    uid: Uid,
    name: Option<CString>,
    main: Option<Gid>,
}

fn find_user(text: &str) -> Result<Known> {
    let number = number(text);
    let found = match number {
        Some(number) => User::from_uid(Uid::from_raw(number)),
        None => User::from_name(text),
    };
    let found = found.map_err(|errno| database("user", text, errno))?;
    match (found, number) {
        (Some(user), _) => Ok(Known {
            uid: user.uid,
            name: CString::new(user.name).ok(),
            main: Some(user.gid),
        }),
        (None, Some(number)) => Ok(Known {
            uid: Uid::from_raw(number),
            name: None,
            main: None,
        }),
        (None, None) => Err(Error::config(format!("there is no user {text:?}"))),
    }
}

fn find_group(text: &str) -> Result<Gid> {
    if let Some(number) = number(text) {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(text).map_err(|errno| database("group", text, errno))?;
    found
        .map(|group| group.gid)
        .ok_or_else(|| Error::config(format!("there is no group {text:?}")))
}

/// A text that is a number is one, even if a user is called so. The last number of all means "leave it"
/// to the system (setresuid(2)), and is none.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n != u32::MAX)
}

fn database(what: &str, text: &str, errno: Errno) -> Error {
    let reason = errno.desc();
    Error::config(format!("{what} {text:?} cannot be looked up: {reason}"))
}

#[cfg(feature = "wsgi")]
pub(crate) fn effective_uid() -> u32 {
    geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_who_the_process_is() {
        let same = Credentials::resolve(None, None, false).unwrap();
        assert_eq!((same.uid, same.gid), (geteuid(), getegid()));
        assert!(!same.is_change());
    }

    #[test]
    fn names_and_numbers_mean_the_same_user() {
        let by_number = Credentials::resolve(Some("0"), Some("0"), false);
        let by_name = Credentials::resolve(Some("root"), Some("root"), false);
        if geteuid().is_root() {
            assert_eq!(by_number.unwrap(), by_name.unwrap());
        } else {
            let sentence = by_number.unwrap_err().to_string();
            assert!(sentence.contains("only root can become 0:0"), "{sentence}");
            assert!(by_name.unwrap_err().is_config());
        }
    }

    // Gunicorn: S36
    #[test]
    fn who_does_not_exist_is_an_error_that_names_it() {
        for (user, group) in [
            (Some("no such user"), None),
            (None, Some("no such group")),
            (Some(""), None),
            (Some("-1"), None),
            (Some("4294967295"), None),
        ] {
            let error = Credentials::resolve(user, group, false).unwrap_err();
            let name = format!("{:?}", user.or(group).unwrap());
            assert!(
                error.is_config() && error.to_string().contains(&name),
                "{error}"
            );
        }
    }

    #[test]
    fn a_uid_without_an_entry_needs_a_group_and_has_no_others() {
        let nobody = Some("2147483000");
        let error = Credentials::resolve(nobody, None, false).unwrap_err();
        assert!(
            error.to_string().contains("its group must be said"),
            "{error}"
        );
        let error = Credentials::resolve(nobody, Some("7"), true).unwrap_err();
        assert!(error.to_string().contains("initgroups"), "{error}");
        if geteuid().is_root() {
            let both = Credentials::resolve(nobody, Some("7"), false).unwrap();
            assert_eq!((both.uid(), both.gid()), (2_147_483_000, 7));
            assert_eq!(both.groups, [Gid::from_raw(7)]);
        }
    }
}
