//! What follows a reload of the config, in two steps.
//!
//! First everybody who follows is shown the new settings and gets ready; whoever cannot follow says
//! why, and then nothing changes anywhere. When all agree, the settings are swapped and what was
//! made ready is carried out, which cannot fail.
mod parts;

use octostack_core::inspect::Problem;
use octostack_core::sync::lock;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

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

/// What is to be done once all agree to a reload; see [`App::on_reload`](crate::App::on_reload).
///
/// It is dropped instead if somebody objects. Prepare all that can fail before.
#[must_use = "it is carried out by the reload that it is returned to"]
pub struct Commit(Option<Box<dyn FnOnce() + Send>>);

impl Commit {
    /// Carries out `action` when the new settings are in force. It holds up the others who follow:
    /// have it take over what is ready, and not wait for anything.
    pub fn new(action: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(action)))
    }

    /// Nothing is to be done.
    pub const fn nothing() -> Self {
        Self(None)
    }

    /// Carries it out. The reload does that; call it in tests of what you prepare.
    pub fn run(self) {
        if let Some(action) = self.0 {
            action();
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Commit" } else { "Commit(nothing)" })
    }
}

type Prepare<F, S> = dyn Fn(&F, &S) -> Result<Commit, Vec<Problem>> + Send + Sync;

/// Everybody who follows reloads of the framework's sections `F` and the service's settings `S`.
pub(crate) struct Followers<F, S> {
    list: Mutex<Vec<Follower<F, S>>>,
}

struct Follower<F, S> {
    section: Arc<str>,
    prepare: Arc<Prepare<F, S>>,
}

impl<F, S> Clone for Follower<F, S> {
    fn clone(&self) -> Self {
        Self { section: self.section.clone(), prepare: self.prepare.clone() }
    }
}

impl<F, S> Default for Followers<F, S> {
    fn default() -> Self {
        Self { list: Mutex::default() }
    }
}

impl<F, S> Followers<F, S> {
    /// Adds one, after those that are there: they get ready and commit in this order. Keys of its
    /// problems are relative to `section`.
    pub(crate) fn add(
        &self,
        section: &str,
        prepare: impl Fn(&F, &S) -> Result<Commit, Vec<Problem>> + Send + Sync + 'static,
    ) {
        lock(&self.list).push(Follower { section: section.into(), prepare: Arc::new(prepare) });
    }

    /// Asks everybody to get ready for these settings.
    ///
    /// # Errors
    /// What all who object say. Nothing has changed then.
    #[allow(dead_code, reason = "called by the reload, which is wired up in `run`")]
    pub(crate) fn prepare(&self, framework: &F, settings: &S) -> Result<Commits, Vec<Problem>> {
        // No user code under the lock: it may want to add a follower.
        let list = lock(&self.list).clone();
        let mut commits = Vec::new();
        let mut problems = Vec::new();
        for Follower { section, prepare } in list {
            let asked = catch_unwind(AssertUnwindSafe(|| prepare(framework, settings)));
            let objects = |panic: Vec<Problem>| panic.into_iter().map(|p| within(&section, p));
            match asked {
                Ok(Ok(commit)) => commits.push((section, commit)),
                Ok(Err(found)) => problems.extend(objects(found)),
                Err(_) => {
                    let message = "what follows these settings panicked; the log says where";
                    problems.extend(objects(vec![Problem::new("", message)]));
                }
            }
        }
        if problems.is_empty() { Ok(Commits(commits)) } else { Err(problems) }
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

/// What everybody made ready.
#[must_use = "nobody follows until it runs"]
#[allow(dead_code, reason = "run by the reload, which is wired up in `run`")]
pub(crate) struct Commits(Vec<(Arc<str>, Commit)>);

impl Commits {
    /// Carries it out. One who panics keeps none of the others from following.
    #[allow(dead_code, reason = "run by the reload, which is wired up in `run`")]
    pub(crate) fn run(self) {
        for (section, commit) in self.0 {
            if catch_unwind(AssertUnwindSafe(|| commit.run())).is_err() {
                tracing::error!(section = &*section, "what follows a reload panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Commit, Followers, Problem};
    use std::sync::{Arc, Mutex};

    type Said = Arc<Mutex<Vec<String>>>;

    fn say(said: &Said, what: String) -> Commit {
        let said = said.clone();
        Commit::new(move || said.lock().unwrap().push(what))
    }

    /// Follows by saying what it was shown; objects to numbers from `most` on.
    fn follow(all: &Followers<&'static str, u32>, name: &'static str, most: u32, said: &Said) {
        let said = said.clone();
        all.add(name, move |framework, settings| {
            if *settings >= most {
                return Err(vec![Problem::new("size", format!("at most {most}"))]);
            }
            Ok(say(&said, format!("{name} {framework} {settings}")))
        });
    }

    #[test]
    fn all_follow_in_order_once_the_reload_says_so() {
        let (all, said) = (Followers::default(), Said::default());
        follow(&all, "a", 10, &said);
        all.add("idle", |_, _| Ok(Commit::nothing()));
        follow(&all, "b", 10, &said);
        let commits = all.prepare(&"f", &7).unwrap();
        assert_eq!(*said.lock().unwrap(), [""; 0], "not before");
        commits.run();
        assert_eq!(*said.lock().unwrap(), ["a f 7", "b f 7"]);
    }

    #[test]
    fn one_who_objects_keeps_all_from_following() {
        let (all, said) = (Followers::default(), Said::default());
        follow(&all, "a", 10, &said);
        follow(&all, "b", 5, &said);
        follow(&all, "", 6, &said);
        all.add("whole", |_, settings: &u32| match settings {
            7 => Err(vec![Problem::new("", "is odd"), Problem::new("x[1]", "too")]),
            _ => Ok(Commit::nothing()),
        });
        let problems = all.prepare(&"f", &7).err().unwrap();
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            ["b.size: at most 5", "size: at most 6", "whole: is odd", "whole.x[1]: too"]
        );
        assert_eq!(*said.lock().unwrap(), [""; 0]);
        all.prepare(&"f", &4).unwrap().run();
        assert_eq!(said.lock().unwrap().len(), 3, "it was asked anew");
    }

    #[test]
    fn a_panic_is_an_objection_and_stops_nobody_later() {
        let (all, said) = (Followers::default(), Said::default());
        all.add("p", |_, settings: &u32| match settings {
            0 => panic!("on purpose, while it is asked"),
            1 => Ok(Commit::new(|| panic!("on purpose, when it is too late"))),
            _ => Ok(Commit::nothing()),
        });
        follow(&all, "after", 10, &said);
        let problems = all.prepare(&"f", &0).err().unwrap();
        assert!(problems[0].to_string().starts_with("p: "), "{problems:?}");
        all.prepare(&"f", &1).unwrap().run();
        assert_eq!(*said.lock().unwrap(), ["after f 1"]);
    }

    #[test]
    fn who_is_asked_may_add_a_follower() {
        let all = Arc::new(Followers::<(), ()>::default());
        let again = Arc::downgrade(&all);
        all.add("a", move |(), ()| {
            let all = again.upgrade().unwrap();
            all.add("b", |(), ()| Err(vec![Problem::new("", "new")]));
            Ok(Commit::nothing())
        });
        all.prepare(&(), &()).unwrap().run();
        assert!(all.prepare(&(), &()).is_err());
    }

    #[test]
    fn a_change_knows_what_differs() {
        let change = Change { old: &(1, "a".to_owned()), new: &(2, "a".to_owned()) };
        assert!(change.differs(|(number, _)| number));
        assert!(!change.differs(|(_, text)| text.as_str()));
    }
}
