//! [`Mapping`]: memory that processes share (mmap(2), `MAP_SHARED`), and [`Region`], a typed part of it.
//!
//! An anonymous mapping is shared with forked children, at the same address. One of a file in memory (`memfd_create(2)`)
//! is so, too, and can be mapped by a program that is given the file's descriptor.
//!
//! *Invariant*: what is in a mapping is made of atomics alone ([`Shared`]), so that no value of them is invalid and no
//! access is a race, whichever process wrote it.

use std::ffi::{CStr, c_void};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{self, MapFlags, ProtFlags};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use super::sigpipe::shielded;
use crate::atomic_enum::{AtomicEnum, Numbered};
use crate::error::{Error, Result};

/// A type that may lie in memory which other processes write to.
///
/// # Safety
///
/// It is made of atomics alone, so that every content of its bytes is a valid value, and it has no destructor.
pub(crate) unsafe trait Shared: Sync {}

// SAFETY: atomics of integers, of which every content is valid.
unsafe impl Shared for AtomicU64 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicI32 {}
// SAFETY: an atomic of an integer, of which every number is read as one of the enum's values.
unsafe impl<E: Numbered> Shared for AtomicEnum<E> {}
// SAFETY: they lie side by side.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Defines structures that are [`Shared`]: each field has to be. Neighbours of them share no cache line, nor the pair of
/// lines that processors fetch at once.
macro_rules! shared {
    ($($(#[$about:meta])* $visible:vis struct $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$about])*
        #[derive(Default)]
        #[repr(C, align(128))]
        $visible struct $name { $($(#[$of_field])* $field: $type,)+ }

        const _: fn() = || {
            fn is_shared<T: $crate::sys::mapping::Shared>() {}
            $(is_shared::<$type>();)+
        };

        // SAFETY: each field was just found to be shared, and padding is never read.
        #[allow(unsafe_code)]
        unsafe impl $crate::sys::mapping::Shared for $name {}
    )+};
}
pub(crate) use shared;

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// What a file in memory must have so that all of it stays there.
fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW
}

/// Shared memory, which goes with its last [`Region`] in this process.
pub(crate) struct Mapping {
    memory: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: the mapping belongs to no thread, and nothing but atomics is reached through it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Anonymous memory, all zero.
    pub(crate) fn anonymous(length: NonZeroUsize) -> Result<Arc<Self>> {
        // SAFETY: a new anonymous mapping at an address of the system's choice disturbs nothing.
        Self::new(length, unsafe {
            mman::mmap_anonymous(None, length, READ_WRITE, MapFlags::MAP_SHARED)
        })
    }

    /// A file in memory, all zero, and its descriptor, closed on exec. Its length cannot be changed.
    pub(crate) fn file(name: &CStr, length: NonZeroUsize) -> Result<(Arc<Self>, OwnedFd)> {
        let failed = |errno| Error::io("cannot make a file in memory", errno);
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(name, flags).map_err(failed)?;
        let size = i64::try_from(length.get()).map_err(|_| failed(Errno::EFBIG))?;
        // Past RLIMIT_FSIZE this fails, and would end the process by SIGXFSZ.
        shielded(|| Ok(ftruncate(&fd, size)?))
            .map_err(|error| Error::io("cannot make a file in memory", error))?;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals() | SealFlag::F_SEAL_SEAL)).map_err(failed)?;
        Ok((Self::of_file(&fd, length)?, fd))
    }

    /// The file in memory that [`file`](Self::file) made in another program.
    ///
    /// # Errors
    ///
    /// Where it is of another length, or could be cut: reading would end this process then (`SIGBUS`).
    pub(crate) fn of_file(fd: &OwnedFd, length: NonZeroUsize) -> Result<Arc<Self>> {
        let sealed = fcntl(fd, FcntlArg::F_GET_SEALS)
            .map(SealFlag::from_bits_truncate)
            .is_ok_and(|found| found.contains(seals()));
        let size = fstat(fd).map(|facts| u64::try_from(facts.st_size).ok());
        if !sealed || size != Ok(Some(length.get() as u64)) {
            return Err(Error::io(
                "cannot map shared memory that has another shape",
                Errno::EINVAL,
            ));
        }
        // SAFETY: as above; the file keeps its length, so that each page of it exists.
        Self::new(length, unsafe {
            mman::mmap(None, length, READ_WRITE, MapFlags::MAP_SHARED, fd, 0)
        })
    }

    fn new(length: NonZeroUsize, mapped: nix::Result<NonNull<c_void>>) -> Result<Arc<Self>> {
        let memory = mapped.map_err(|errno| Error::io("cannot map shared memory", errno))?;
        let memory = memory.cast();
        Ok(Arc::new(Self { memory, length }))
    }

    /// The part that begins at `offset`, with `count` values.
    ///
    /// # Panics
    ///
    /// Where it would not lie in the mapping, or not on the type's alignment.
    pub(crate) fn region<T: Shared>(self: &Arc<Self>, offset: usize, count: usize) -> Region<T> {
        let end = count
            .checked_mul(size_of::<T>())
            .and_then(|size| size.checked_add(offset));
        assert!(
            end.is_some_and(|end| end <= self.length.get()) && offset % align_of::<T>() == 0,
            "a region lies in its mapping"
        );
        // SAFETY: the offset is within the mapping, or at its end for an empty region.
        let first = unsafe { self.memory.add(offset) }.cast();
        Region {
            first,
            count,
            mapping: Arc::clone(self),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and every region of it has gone. munmap(2) cannot fail for one that
        // exists.
        let _ = unsafe { mman::munmap(self.memory.cast(), self.length.get()) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Values of one type in a [`Mapping`].
pub(crate) struct Region<T> {
    first: NonNull<T>,
    count: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: what it gives are shared references to values that are `Sync`; the mapping belongs to no thread.
unsafe impl<T: Shared> Send for Region<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Region<T> {}

impl<T> fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<T> Region<T> {
    /// From now on this process only reads the whole mapping (mprotect(2)): a write to it ends the process by SIGSEGV.
    pub(crate) fn read_only(&self) -> Result<()> {
        let Mapping { memory, length } = &*self.mapping;
        // SAFETY: the mapping is this process's own, and is read through atomics alone: what writes to it in spite of this
        // is ended, and sees nothing invalid.
        unsafe { mman::mprotect(memory.cast(), length.get(), ProtFlags::PROT_READ) }
            .map_err(|errno| Error::io("cannot protect shared memory", errno))
    }
}

impl<T: Shared> Deref for Region<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: that number of values lies there, aligned (`Mapping::region`); every content of their bytes is valid
        // (`Shared`); the mapping lives as long as the region; and there is no `&mut` to any of it.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn regions_of_a_mapping_are_zero_and_apart() {
        let mapping = Mapping::anonymous(NonZeroUsize::new(24).unwrap()).unwrap();
        let (first, rest) = (
            mapping.region::<AtomicU64>(0, 1),
            mapping.region::<AtomicU64>(8, 2),
        );
        drop(mapping);
        first[0].store(7, Ordering::Relaxed);
        assert_eq!(rest.len(), 2);
        assert!(rest.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_file_in_memory_is_shared_by_those_who_map_it() {
        let length = NonZeroUsize::new(16).unwrap();
        let (mapping, fd) = Mapping::file(c"test", length).unwrap();
        let first = mapping.region::<AtomicU64>(8, 1);
        first[0].store(7, Ordering::Relaxed);
        let other = Mapping::of_file(&fd, length).unwrap();
        assert_eq!(
            other.region::<AtomicU64>(8, 1)[0].load(Ordering::Relaxed),
            7
        );
        assert!(ftruncate(&fd, 8).is_err());
        assert!(Mapping::of_file(&fd, NonZeroUsize::new(24).unwrap()).is_err());
        let unsealed = tempfile::tempfile().unwrap();
        unsealed.set_len(16).unwrap();
        assert!(Mapping::of_file(&unsealed.into(), length).is_err());
    }

    #[test]
    #[should_panic(expected = "a region lies in its mapping")]
    fn a_region_ends_where_its_mapping_ends() {
        let mapping = Mapping::anonymous(NonZeroUsize::new(8).unwrap()).unwrap();
        mapping.region::<AtomicU64>(8, 1);
    }
}
