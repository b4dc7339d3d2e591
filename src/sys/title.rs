//! [`Title`]: what a list of processes shows of this one.
//!
//! The arguments that the program was called with stay where they are, whole: the kernel is told of another
//! place to read them from (`PR_SET_MM_MAP`, prctl(2)), which needs no privilege. Where a kernel cannot be told
//! (one without `CONFIG_CHECKPOINT_RESTORE`, a sandbox) only the short name changes.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;

use libc::{c_int, c_ulong};
use nix::errno::Errno;

/// A change of this process's title, which ends with this value.
#[derive(Debug)]
pub(crate) struct Title {
    /// The short name that was there before.
    name: CString,
    /// The layout that was there before, where it is known.
    memory: io::Result<Layout>,
    /// Where the kernel reads the title, while it is changed.
    shown: Option<CString>,
}

impl Title {
    pub(crate) fn keep() -> Self {
        Self {
            name: short_name(),
            memory: Layout::read(),
            shown: None,
        }
    }

    /// Shows `text`; its first 15 bytes are the short name. Control characters become question marks.
    ///
    /// # Errors
    ///
    /// Where the short name alone was changed.
    pub(crate) fn show(&mut self, text: &str) -> io::Result<()> {
        let printable = text.replace(char::is_control, "?");
        let text = CString::new(printable).unwrap_or_default();
        set_short_name(&text);
        let layout = match &self.memory {
            Ok(layout) => layout,
            Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
        };
        layout.set_arguments(&text)?;
        // Not before: the kernel may have been reading the last one.
        self.shown = Some(text);
        Ok(())
    }
}

impl Drop for Title {
    fn drop(&mut self) {
        set_short_name(&self.name);
        if let (Ok(layout), Some(_)) = (&self.memory, &self.shown) {
            // What could be changed can be changed back.
            let _ = layout.set();
        }
    }
}

fn short_name() -> CString {
    let mut name = [0_u8; 16];
    // SAFETY: prctl(2) with this option writes 16 bytes at most to where it points, with a zero at their end.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    CStr::from_bytes_until_nul(&name).map_or_else(|_| CString::default(), CStr::to_owned)
}

/// Names the calling thread for the system, as `ps -L` and debuggers show it: the first 15 bytes of `name`.
#[cfg(feature = "wsgi")]
pub(crate) fn set_thread_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        set_short_name(&name);
    }
}

fn set_short_name(name: &CStr) {
    // SAFETY: prctl(2) with this option reads a string, of which it takes 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Where the parts of this process lie, as the kernel takes it: `struct prctl_mm_map` of `linux/prctl.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Layout {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: c_int,
}

impl Layout {
    const PR_SET_MM: c_int = 35;
    const PR_SET_MM_MAP: c_ulong = 14;

    fn read() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/stat")?;
        Self::parse(&text).ok_or_else(|| io::Error::other("/proc/self/stat is not as proc(5) says"))
    }

    /// From the line of proc(5)'s `/proc/pid/stat`, whose second field may hold anything in its parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            start_code: field(26)?,
            end_code: field(27)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            brk: 0,
            start_stack: field(28)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            auxv: 0,
            auxv_size: 0,
            // The program stays what it is.
            exe_fd: -1,
        })
    }

    fn set_arguments(&self, text: &CStr) -> io::Result<()> {
        let bytes = text.to_bytes_with_nul();
        let start = bytes.as_ptr() as u64;
        let end = start + bytes.len() as u64;
        let layout = Self {
            arg_start: start,
            arg_end: end,
            ..*self
        };
        layout.set()
    }

    fn set(mut self) -> io::Result<()> {
        // The one bound that moves. If another thread moves it now, it cannot be moved again, and allocators
        // map their memory elsewhere.
        // SAFETY: brk(2), asked for the impossible, changes nothing and gives the present end.
        let brk = unsafe { libc::syscall(libc::SYS_brk, 0) };
        self.brk = u64::try_from(brk).map_err(io::Error::other)?;
        // SAFETY: prctl(2) with this option reads a structure of this size, and keeps nothing of it but its
        // numbers: what the kernel shows of the process. The end of the data segment stays what it is.
        let outcome = unsafe {
            libc::prctl(
                Self::PR_SET_MM,
                Self::PR_SET_MM_MAP,
                &raw const self,
                size_of::<Self>() as c_ulong,
                0 as c_ulong,
            )
        };
        Errno::result(outcome)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_whatever_the_process_is_called() {
        let rest: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let line = format!("7 (a) b (c)) S {}", rest.join(" "));
        let layout = Layout::parse(&line).unwrap();
        assert_eq!((layout.start_code, layout.start_stack), (26, 28));
        assert_eq!(
            (layout.start_brk, layout.arg_start, layout.arg_end),
            (47, 48, 49)
        );
        assert_eq!((layout.env_start, layout.env_end), (50, 51));
        assert!(Layout::parse("7 (short) S 1 2").is_none());
        assert!(Layout::parse("").is_none());
    }

    // Gunicorn: G68
    #[test]
    fn a_title_of_any_length_is_shown_and_ends_with_its_value() {
        // Of this thread, and so not of the other tests.
        let comm = || fs::read_to_string("/proc/thread-self/comm").unwrap();
        let line = || fs::read("/proc/self/cmdline").unwrap();
        // Kernels with `CONFIG_CHECKPOINT_RESTORE` have this file.
        let can_be_shown = fs::exists("/proc/sys/kernel/ns_last_pid").unwrap();
        let called = || std::env::args_os().collect::<Vec<_>>();
        let (name, arguments, called_with) = (comm(), line(), called());
        let mut title = Title::keep();
        for text in ["short".to_owned(), "a name\n ".repeat(3000)] {
            let shown = title.show(&text);
            let printable = text.replace('\n', "?");
            assert!(comm().trim_end().starts_with(&printable[..5]), "{}", comm());
            if can_be_shown {
                shown.unwrap();
                assert_eq!(line(), [printable.as_bytes(), b"\0"].concat());
            } else {
                assert!(shown.is_err() && line() == arguments);
            }
            assert_eq!(called(), called_with);
        }
        drop(title);
        assert_eq!((comm(), line()), (name, arguments));
    }
}
