//! What follows a reload of the config: the settings that it is shown, and the framework's own
//! parts that do.
mod parts;

use octostack_core::inspect::Problem;

/// The settings before and after a reload, as [`App::on_reload`](crate::App::on_reload) shows them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Change<'a, S> {
    /// What is in force.
    pub old: &'a S,
    /// What will be, if nobody objects.
    pub new: &'a S,
}

impl<S> Change<'_, S> {
    /// Whether a part of the settings changes.
    pub fn differs<T: PartialEq + ?Sized>(&self, part: impl Fn(&S) -> &T) -> bool {
        part(self.old) != part(self.new)
    }
}

/// A problem with a key of a section, named from the top of the config.
pub(crate) fn within(section: &str, problem: Problem) -> Problem {
    let key = match (section, &*problem.key) {
        ("", key) => key.to_owned(),
        (section, "") => section.to_owned(),
        (section, key) => format!("{section}.{key}"),
    };
    Problem::new(key, problem.message)
}

#[cfg(test)]
mod tests {
    use super::{Change, Problem, within};

    #[test]
    fn a_change_knows_what_differs() {
        let change = Change { old: &(1, "a".to_owned()), new: &(2, "a".to_owned()) };
        assert!(change.differs(|(number, _)| number));
        assert!(!change.differs(|(_, text)| text.as_str()));
    }

    #[test]
    fn keys_are_told_from_the_top() {
        let key = |section, key| within(section, Problem::new(key, "wrong")).key;
        assert_eq!(key("pool", "size"), "pool.size");
        assert_eq!(key("pool", ""), "pool");
        assert_eq!(key("", "size"), "size");
    }
}
