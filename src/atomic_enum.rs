//! [`AtomicEnum`]: an enum that several threads or processes share.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

/// An enum without fields, defined by [`numbered`].
pub(crate) trait Numbered: Copy + fmt::Debug + 'static {
    /// All of them, in the order of their numbers.
    const ALL: &'static [Self];

    /// From 0 on.
    fn number(self) -> u32;
}

/// Numbers the variants of an enum in the order in which they are defined: each has to be listed.
macro_rules! numbered {
    ($name:ident: $($variant:ident),+) => {
        impl $crate::atomic_enum::Numbered for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn number(self) -> u32 {
                match self {
                    $(Self::$variant => Self::$variant as u32,)+
                }
            }
        }
    };
}
pub(crate) use numbered;

/// One of an enum's values. Memory that is all zero holds the first.
#[repr(transparent)]
pub(crate) struct AtomicEnum<E>(AtomicU32, PhantomData<fn() -> E>);

impl<E: Numbered> AtomicEnum<E> {
    pub(crate) fn new(value: E) -> Self {
        Self(AtomicU32::new(value.number()), PhantomData)
    }

    pub(crate) fn load(&self, order: Ordering) -> E {
        let number = self.0.load(order) as usize;
        // In memory that others write to it could be any number.
        E::ALL.get(number).copied().unwrap_or(E::ALL[0])
    }

    pub(crate) fn store(&self, value: E, order: Ordering) {
        self.0.store(value.number(), order);
    }

    /// Changes `from` to `to`; tells whether `from` was there.
    pub(crate) fn change(&self, from: E, to: E, order: Ordering) -> bool {
        self.0
            .compare_exchange(from.number(), to.number(), order, Ordering::Relaxed)
            .is_ok()
    }

    /// Stores `value` where it comes after what is there; gives what was there.
    pub(crate) fn raise(&self, value: E, order: Ordering) -> E {
        let before = self.0.fetch_max(value.number(), order) as usize;
        E::ALL.get(before).copied().unwrap_or(E::ALL[0])
    }
}

impl<E: Numbered> Default for AtomicEnum<E> {
    /// The first.
    fn default() -> Self {
        Self::new(E::ALL[0])
    }
}

impl<E: Numbered> fmt::Debug for AtomicEnum<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load(Ordering::Relaxed).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Step {
        First,
        Second,
        Third,
    }

    numbered!(Step: First, Second, Third);

    #[test]
    fn a_step_is_kept_and_raised_and_changed() {
        let step = AtomicEnum::default();
        assert_eq!(step.load(Ordering::Relaxed), Step::First);
        assert_eq!(step.raise(Step::Third, Ordering::Relaxed), Step::First);
        assert_eq!(step.raise(Step::Second, Ordering::Relaxed), Step::Third);
        assert!(!step.change(Step::Second, Step::First, Ordering::Relaxed));
        assert!(step.change(Step::Third, Step::Second, Ordering::Relaxed));
        assert_eq!(step.load(Ordering::Relaxed), Step::Second);
    }

    #[test]
    fn the_numbers_are_those_of_the_list() {
        for (number, step) in Step::ALL.iter().enumerate() {
            assert_eq!(step.number() as usize, number);
        }
    }
}
