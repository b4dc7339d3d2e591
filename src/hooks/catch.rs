//! How a hook is called: its failures and panics become errors that name the hook.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};
use crate::trace;

/// Calls a hook.
///
/// # Errors
///
/// A failure or a panic of the hook, in a sentence with its name.
pub(super) fn call(name: &str, hook: impl FnOnce() -> Result<()>) -> Result<()> {
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let sentence = format!("the hook {name} failed: {error}");
            Err(Error::with_source(sentence, error))
        }
        Err(panic) => Err(Error::panicked(&format!("the hook {name}"), &*panic)),
    }
}

/// Calls a hook that cannot fail, and logs a panic of it.
pub(super) fn call_logged(name: &str, hook: impl FnOnce()) {
    let called = call(name, || {
        hook();
        Ok(())
    });
    if let Err(error) = called {
        trace::error!("{error}");
    }
}
