//! What a sequence of looks at a file means. Reads nothing and knows no time.
use super::News;
use super::error::{FollowError, Reason};
use std::hash::{BuildHasher, RandomState};

/// What to do after a look.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing new: look again at the usual time.
    Unchanged,
    /// Something new that may be half done: look again soon.
    Settling,
    /// Something new that two looks agree on.
    News(News),
}

/// 128 bits that stand for a content. The keys are random, so nobody can make two contents of one
/// print; and no copy of a secret is kept in order to notice the next one.
type Print = [u64; 2];

/// What one look saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Content(Print),
    Failure(Reason),
}

impl Sight {
    const fn content(self) -> Option<Print> {
        match self {
            Self::Content(print) => Some(print),
            Self::Failure(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Machine {
    keys: [RandomState; 2],
    /// The content that was handed out last.
    known: Option<Print>,
    /// What the last news was.
    told: Option<Sight>,
    /// What the last look saw, if that differs.
    last: Option<Sight>,
}

impl Machine {
    /// Knows nothing yet. The `keys` are random and differ.
    pub(super) const fn new(keys: [RandomState; 2]) -> Self {
        Self { keys, known: None, told: None, last: None }
    }

    /// Takes note of a look that is not asked for a second time.
    pub(super) fn begin(&mut self, look: &Result<Vec<u8>, FollowError>) {
        let sight = self.sight(look);
        self.known = sight.content().or(self.known);
        self.told = Some(sight);
        self.last = None;
    }

    /// Takes note of the next look.
    pub(super) fn see(&mut self, look: Result<Vec<u8>, FollowError>) -> Step {
        let sight = self.sight(&look);
        if self.told == Some(sight) {
            self.last = None; // whatever was between is over
            return Step::Unchanged;
        }
        let agree = match (self.last.replace(sight), sight, self.told) {
            // Why it fails may change each time; that it fails is worth telling.
            (Some(Sight::Failure(_)), Sight::Failure(_), None | Some(Sight::Content(_))) => true,
            (last, sight, _) => last == Some(sight),
        };
        if !agree {
            return Step::Settling;
        }
        self.last = None;
        self.told = Some(sight);
        let content = match look {
            Ok(content) => content,
            Err(error) => return Step::News(News::Failed(error)),
        };
        let before = self.known;
        self.known = sight.content();
        let news = if before == self.known { News::Recovered } else { News::Changed(content) };
        Step::News(news)
    }

    fn sight(&self, look: &Result<Vec<u8>, FollowError>) -> Sight {
        match look {
            Ok(content) => Sight::Content(self.keys.each_ref().map(|key| key.hash_one(content))),
            Err(error) => Sight::Failure(error.reason()),
        }
    }
}

#[cfg(test)]
mod tests;
