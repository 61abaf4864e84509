//! What a caller wants to learn of: all classes, some, or single objects.

use super::history::{self, Object};
use crate::model::{CLASSES, Ref};
use crate::operation::Failure;

/// The objects whose changes a caller wants to learn of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// A bit for each class.
    classes: u128,
    /// Sorted.
    objects: Vec<Object>,
}

// A class more than there are bits would be wanted by nobody.
const _: () = assert!(CLASSES.len() <= 128);

impl Wanted {
    /// Reads subscriptions: `*`, the name of a class in any case, or `class/reference`. Classes and references that are not
    /// known are of no objects.
    ///
    /// # Errors
    /// `EVENT_SUBSCRIPTION_PARSE_FAILURE`.
    pub(crate) fn parse(subscriptions: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for subscription in subscriptions {
            wanted.add(subscription.as_ref())?;
        }
        wanted.objects.sort_unstable();
        wanted.objects.dedup();
        Ok(wanted)
    }

    fn add(&mut self, subscription: &str) -> Result<(), Failure> {
        if subscription == "*" {
            self.classes = u128::MAX;
            return Ok(());
        }
        let (class, object) = match subscription.split_once('/') {
            None => (subscription, None),
            Some((class, reference)) if !reference.contains('/') => (class, Some(reference)),
            Some(_) => {
                return Err(Failure::new("EVENT_SUBSCRIPTION_PARSE_FAILURE", [subscription])
                    .with_remedy("subscribe to `*`, to a class, or to an object as class/reference"));
            }
        };
        let Some(class) = history::class_number(class) else { return Ok(()) };
        match object {
            None => self.classes |= 1 << class,
            Some(reference) => {
                let uuid = reference.parse::<Ref<()>>().ok().and_then(|reference| reference.uuid());
                self.objects.extend(uuid.map(|uuid| Object { class, uuid }));
            }
        }
        Ok(())
    }

    /// Whether a change of this object is wanted.
    pub(crate) fn has(&self, object: Object) -> bool {
        self.has_class(object.class) || self.objects.binary_search(&object).is_ok()
    }

    /// Whether changes of all objects of a class are wanted.
    pub(crate) fn has_class(&self, class: u8) -> bool {
        self.classes & 1 << class != 0
    }

    /// The objects that are wanted by themselves.
    pub(crate) fn objects(&self) -> &[Object] {
        &self.objects
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn classes_and_objects_are_wanted_in_any_spelling() {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        let object = |class: &str, uuid| Object { class: history::class_number(class).unwrap(), uuid };
        let wanted = Wanted::parse(["vm".to_owned(), format!("TASK/OpaqueRef:{one}"), "nothing".into()]).unwrap();
        assert!(wanted.has(object("VM", one)) && wanted.has(object("task", one)));
        assert!(!wanted.has(object("task", other)) && !wanted.has(object("host", one)));
        assert!(Wanted::parse(["*"]).unwrap().has(object("host", one)));
        assert_eq!(Wanted::parse(["VM/1", "task/", "VM/OpaqueRef:NULL"]).unwrap(), Wanted::default());
        assert_eq!(Wanted::parse(["a/b/c"]).unwrap_err().code, "EVENT_SUBSCRIPTION_PARSE_FAILURE");
    }
}
