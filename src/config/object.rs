//! [`Objects`]: the values of a source of settings that no text can say.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::origin::Origin;

/// A value that no text can say, such as a function of a configuration file.
pub(super) type Object = Arc<dyn Any + Send + Sync>;

/// Objects by name, each with its origin.
#[derive(Clone, Default)]
pub(super) struct Objects(BTreeMap<String, (Object, Origin)>);

impl Objects {
    pub(super) fn insert(&mut self, name: String, object: Object, origin: Origin) {
        self.0.insert(name, (object, origin));
    }

    pub(super) fn get(&self, name: &str) -> Option<&(Object, Origin)> {
        self.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &(Object, Origin))> {
        self.0.iter()
    }
}

/// Objects are equal if they are the same.
impl PartialEq for Objects {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.iter().all(|(name, (object, _))| {
                let same = other.get(name);
                same.is_some_and(|(same, _)| Arc::ptr_eq(object, same))
            })
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins = self.iter().map(|(name, (_, origin))| (name, origin));
        f.debug_map().entries(origins).finish()
    }
}
