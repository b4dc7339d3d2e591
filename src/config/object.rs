//! [`Objects`]: the values of a source of settings that no text can say.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::origin::Origin;

/// A value that no text can say, such as a function of a configuration file.
pub(super) type Object = Arc<dyn Any + Send + Sync>;

/// Objects by name.
#[derive(Clone, Default)]
pub(super) struct Objects(BTreeMap<String, ObjectEntry>);

#[derive(Clone)]
pub(super) struct ObjectEntry {
    pub(super) object: Object,
    pub(super) origin: Origin,
    /// The text that the object was read from, if it was text.
    pub(super) text: Option<String>,
}

impl ObjectEntry {
    /// Objects that were read from text are equal if their texts are, others if they are the same.
    fn equals(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.object, &other.object) || self.text.is_some() && self.text == other.text
    }
}

impl Objects {
    pub(super) fn insert(&mut self, name: String, entry: ObjectEntry) {
        self.0.insert(name, entry);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn get(&self, name: &str) -> Option<&ObjectEntry> {
        self.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &ObjectEntry)> {
        self.0.iter()
    }
}

impl PartialEq for Objects {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.iter().all(|(name, entry)| {
                let same = other.get(name);
                same.is_some_and(|same| entry.equals(same))
            })
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins = self.iter().map(|(name, entry)| (name, &entry.origin));
        f.debug_map().entries(origins).finish()
    }
}
