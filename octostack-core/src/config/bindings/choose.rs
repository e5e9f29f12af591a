//! Which directory belongs to which setting. Pure: names and types go in, pairs come out.
//!
//! In this order, and a directory that was given away is not looked at again:
//!
//! 1. the one that an operator names in the key `binding`,
//! 2. the one that is called as the setting: by its whole key, else by its last part,
//! 3. the only one of its type, and of its provider if it asks for one.
//!
//! Where two fit, nothing is guessed.

use super::root::Directory;
use crate::config::error::ErrorKind;

/// A setting that takes a binding.
pub(super) struct Wanted {
    pub(super) keys: Vec<String>,
    pub(super) types: Vec<String>,
    pub(super) provider: Option<String>,
    /// What the program calls it, instead of by its key.
    pub(super) named: Option<String>,
    /// What an operator chose.
    pub(super) choice: Option<String>,
    /// The variable that chooses.
    pub(super) variable: String,
}

/// What came of it: by place in the lists.
#[derive(Default)]
pub(super) struct Chosen {
    /// Setting and directory.
    pub(super) pairs: Vec<(usize, usize)>,
    /// Setting, and what is wrong.
    pub(super) problems: Vec<(usize, ErrorKind, String)>,
    pub(super) notes: Vec<String>,
}

impl Wanted {
    fn key(&self) -> String {
        self.keys.join(".")
    }

    fn fits(&self, directory: &Directory) -> bool {
        let same = |known: &String| known.eq_ignore_ascii_case(&directory.kind);
        let provider = self.provider.as_ref();
        (self.types.is_empty() || self.types.iter().any(same))
            && provider.is_none_or(|name| directory.provider.as_ref() == Some(name))
    }

    /// What a directory may be called, the better names first.
    fn names(&self) -> Vec<String> {
        let names = match (&self.named, self.keys.last()) {
            (Some(named), _) => vec![named.clone()],
            (None, Some(last)) => vec![self.key(), last.clone()],
            (None, None) => Vec::new(),
        };
        let mut names: Vec<_> = names.iter().map(|name| plain(name)).collect();
        names.dedup(); // a key of one part
        names
    }

    fn kind(&self) -> String {
        let kind = self.types.join("` or `");
        match &self.provider {
            Some(provider) => format!("type `{kind}` by `{provider}`"),
            None => format!("type `{kind}`"),
        }
    }
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

pub(super) fn choose(wanted: &[Wanted], directories: &[Directory]) -> Chosen {
    let mut choosing = Choosing { wanted, directories, chosen: Chosen::default() };
    choosing.by_choice();
    choosing.by_name(0);
    choosing.by_name(1);
    choosing.by_type();
    choosing.chosen
}

struct Choosing<'a> {
    wanted: &'a [Wanted],
    directories: &'a [Directory],
    chosen: Chosen,
}

impl Choosing<'_> {
    fn by_choice(&mut self) {
        for (at, wanted) in self.wanted.iter().enumerate() {
            let Some(choice) = &wanted.choice else { continue };
            let found = self.directories.iter().position(|known| known.name == *choice);
            match found {
                Some(found) if wanted.fits(&self.directories[found]) => {
                    self.chosen.pairs.push((at, found));
                }
                Some(_) => {
                    let message = format!("the chosen binding is not of {}", wanted.kind());
                    self.problem(at, ErrorKind::OutOfRange, message);
                }
                None => {
                    let known = self.directories.iter().map(|known| known.name.as_str());
                    let known: Vec<_> = known.collect();
                    let help = match known.as_slice() {
                        [] => "there is none at all".to_owned(),
                        known => format!("there are `{}`", known.join("`, `")),
                    };
                    let message = format!("no binding has the chosen name; {help}");
                    self.problem(at, ErrorKind::OutOfRange, message);
                }
            }
        }
    }

    fn by_name(&mut self, rank: usize) {
        let mut notes = Vec::new();
        let fitting = |wanted: &Wanted, directory: &Directory| {
            let called = wanted.names().get(rank) == Some(&plain(&directory.name));
            if called && !wanted.fits(directory) {
                notes.push(format!(
                    "the binding `{}` is called as the setting `{}`, but is not of {}: \
                     it is not used for it",
                    directory.name,
                    wanted.key(),
                    wanted.kind()
                ));
            }
            called && wanted.fits(directory)
        };
        self.give_away(fitting);
        self.chosen.notes.extend(notes);
    }

    fn by_type(&mut self) {
        self.give_away(|wanted, directory| {
            !wanted.types.is_empty() && wanted.named.is_none() && wanted.fits(directory)
        });
    }

    /// Pairs settings and directories that are still free, where one fits one.
    fn give_away(&mut self, mut fits: impl FnMut(&Wanted, &Directory) -> bool) {
        let taken: Vec<_> = self.chosen.pairs.iter().map(|(_, directory)| *directory).collect();
        let free = |at: &usize| !taken.contains(at);
        let settled = |at: usize| {
            self.chosen.pairs.iter().any(|(known, _)| *known == at)
                || self.chosen.problems.iter().any(|(known, ..)| *known == at)
        };
        let open = (0..self.wanted.len()).filter(|at| !settled(*at));
        let open: Vec<_> = open.collect();
        let mut claims: Vec<(usize, Vec<usize>)> = Vec::new();
        for at in open {
            let directories = (0..self.directories.len()).filter(free);
            let fitting = directories.filter(|i| fits(&self.wanted[at], &self.directories[*i]));
            claims.push((at, fitting.collect()));
        }
        for (at, fitting) in &claims {
            match fitting.as_slice() {
                [] => {}
                [one] => {
                    let rivals: Vec<_> = claims.iter().filter(|(_, of)| of == fitting).collect();
                    if rivals.len() == 1 {
                        self.chosen.pairs.push((*at, *one));
                    } else {
                        let rivals: Vec<_> = rivals.iter().map(|(rival, _)| *rival).collect();
                        self.contested(*at, *one, &rivals);
                    }
                }
                several => {
                    let names = several.iter().map(|i| self.directories[*i].name.as_str());
                    let message = format!(
                        "the bindings `{}` fit alike; set {} to the name of the one that is meant",
                        names.collect::<Vec<_>>().join("` and `"),
                        self.wanted[*at].variable
                    );
                    self.problem(*at, ErrorKind::Ambiguous, message);
                }
            }
        }
    }

    /// One directory, several settings. Said once.
    fn contested(&mut self, at: usize, directory: usize, rivals: &[usize]) {
        let keys: Vec<_> = rivals.iter().map(|rival| self.wanted[*rival].key()).collect();
        let variables = rivals.iter().map(|rival| self.wanted[*rival].variable.as_str());
        let name = &self.directories[directory].name;
        let message = format!(
            "the binding `{name}` fits `{}` alike; set {} to `{name}`",
            keys.join("` and `"),
            variables.collect::<Vec<_>>().join(" or ")
        );
        self.problem(at, ErrorKind::Ambiguous, message);
    }

    fn problem(&mut self, at: usize, kind: ErrorKind, message: String) {
        self.chosen.problems.push((at, kind, message));
    }
}

#[cfg(test)]
mod tests {
    use super::{Chosen, Wanted, choose};
    use crate::config::bindings::root::Directory;

    fn wanted(key: &str, types: &[&str]) -> Wanted {
        Wanted {
            keys: key.split('.').map(str::to_owned).collect(),
            types: types.iter().map(|name| (*name).to_owned()).collect(),
            provider: None,
            named: None,
            choice: None,
            variable: format!("{}_BINDING", key.to_uppercase()),
        }
    }

    fn directory(name: &str, kind: &str) -> Directory {
        Directory {
            name: name.to_owned(),
            path: name.into(),
            kind: kind.to_owned(),
            provider: Some("acme".to_owned()),
            entries: std::collections::BTreeMap::new(),
            unreadable: Vec::new(),
        }
    }

    fn messages(chosen: &Chosen) -> Vec<&str> {
        chosen.problems.iter().map(|(_, _, message)| message.as_str()).collect()
    }

    #[test]
    fn a_name_beats_a_type_and_takes_its_directory_away() {
        let settings = [wanted("shop.primary", &["pg"]), wanted("replica", &["pg"])];
        let directories = [directory("other", "pg"), directory("Primary", "pg")];
        let chosen = choose(&settings, &directories);
        assert_eq!(chosen.pairs, [(0, 1), (1, 0)]);
        assert!(chosen.problems.is_empty());
    }

    #[test]
    fn the_whole_key_beats_its_last_part() {
        let settings = [wanted("a.db", &["pg"]), wanted("b.db", &["pg"])];
        let chosen = choose(&settings, &[directory("db", "pg"), directory("a_db", "pg")]);
        assert_eq!(chosen.pairs, [(0, 1), (1, 0)]);
    }

    #[test]
    fn two_that_fit_are_both_named_with_the_way_out() {
        let directories = [directory("one", "pg"), directory("two", "pg"), directory("x", "redis")];
        let chosen = choose(&[wanted("db", &["pg"])], &directories);
        assert_eq!(
            messages(&chosen),
            ["the bindings `one` and `two` fit alike; set DB_BINDING to the name of the one that \
              is meant"]
        );
        assert!(chosen.pairs.is_empty());
        let mut db = wanted("db", &["pg"]);
        db.choice = Some("two".to_owned());
        assert_eq!(choose(&[db], &directories).pairs, [(0, 1)]);
    }

    #[test]
    fn one_for_two_settings_is_not_shared_in_silence() {
        let settings = [wanted("a", &["pg"]), wanted("b", &["pg"])];
        let chosen = choose(&settings, &[directory("x", "pg")]);
        assert!(chosen.pairs.is_empty());
        let expected = "the binding `x` fits `a` and `b` alike; set A_BINDING or B_BINDING to `x`";
        assert_eq!(messages(&chosen), [expected, expected]);
        // On purpose it can be.
        let mut settings = settings;
        settings[0].choice = Some("x".to_owned());
        settings[1].choice = Some("x".to_owned());
        assert_eq!(choose(&settings, &[directory("x", "pg")]).pairs, [(0, 0), (1, 0)]);
    }

    #[test]
    fn a_wrong_choice_is_an_error_and_a_wrong_type_of_that_name_a_note() {
        let mut db = wanted("db", &["pg"]);
        let directories = [directory("db", "mysql"), directory("x", "redis")];
        let chosen = choose(std::slice::from_ref(&db), &directories);
        assert_eq!((chosen.pairs.len(), chosen.problems.len(), chosen.notes.len()), (0, 0, 1));
        db.choice = Some("db".to_owned());
        let chosen = choose(std::slice::from_ref(&db), &directories);
        assert_eq!(messages(&chosen), ["the chosen binding is not of type `pg`"]);
        db.choice = Some("nothing".to_owned());
        let chosen = choose(&[db], &directories);
        assert_eq!(messages(&chosen), ["no binding has the chosen name; there are `db`, `x`"]);
    }

    #[test]
    fn without_a_type_only_a_name_fits_and_a_provider_narrows() {
        let directories = [directory("one", "pg")];
        assert!(choose(&[wanted("db", &[])], &directories).pairs.is_empty());
        assert_eq!(choose(&[wanted("one", &[])], &directories).pairs, [(0, 0)]);
        let mut db = wanted("db", &["pg"]);
        db.provider = Some("other".to_owned());
        assert!(choose(&[db], &directories).pairs.is_empty());
        let mut db = wanted("db", &["pg"]);
        db.provider = Some("acme".to_owned());
        assert_eq!(choose(&[db], &directories).pairs, [(0, 0)]);
    }
}
