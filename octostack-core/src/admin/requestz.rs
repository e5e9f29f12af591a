//! `/requestz`: the requests in flight, the oldest first.
use super::page::percent_decoded;
use crate::inspect::{Problem, Value};
use crate::requests::{Request, Requests};
use crate::{Clock, SystemClock, duration};
use http::request::Parts;
use std::time::Duration;

/// How many are shown unless it is said.
const USUALLY: usize = 100;

/// The most that are shown.
const MOST: usize = 1000;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    limit: usize,
    min_age: Duration,
}

impl Wish {
    fn of(query: &str) -> Result<Self, Vec<Problem>> {
        let mut wish = Self { limit: USUALLY, min_age: Duration::ZERO };
        let mut problems = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(&value.replace('+', " ")).unwrap_or_default();
            match name {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=MOST) => wish.limit = limit,
                    _ => problems.push(Problem::new("limit", "a whole number from 1 to 1000")),
                },
                "min_age" => match duration::parse(&value) {
                    Ok(age) => wish.min_age = age,
                    Err(wrong) => problems.push(Problem::new("min_age", wrong)),
                },
                other => {
                    let message = "there is no such parameter; there are `limit` and `min_age`";
                    let name: String = other.chars().take(64).collect();
                    problems.push(Problem::new(name, message));
                }
            }
        }
        if problems.is_empty() { Ok(wish) } else { Err(problems) }
    }
}

pub(super) fn page(requests: &Requests, parts: &Parts) -> Result<Value, Vec<Problem>> {
    let wish = Wish::of(parts.uri.query().unwrap_or_default())?;
    let seen = requests.oldest(wish.limit, wish.min_age, SystemClock.now());
    let shown: Vec<_> = seen.requests.iter().map(Request::status).collect();
    Ok(Value::map([
        ("total", Value::from(seen.total)),
        ("matching", seen.matching.into()),
        ("shown", shown.len().into()),
        ("untracked", requests.untracked().into()),
        ("requests", shown.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::Wish;
    use std::time::Duration;

    #[test]
    fn reads_what_is_asked_for_and_says_all_that_is_wrong() {
        let wish = |limit, min_age| Ok(Wish { limit, min_age });
        assert_eq!(Wish::of(""), wish(100, Duration::ZERO));
        assert_eq!(Wish::of("min_age=1m%2030s&limit=5&"), wish(5, Duration::from_secs(90)));
        let problems = Wish::of("limit=0&min_age=5&age=1s").unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| &*problem.key).collect();
        assert_eq!(keys, ["limit", "min_age", "age"]);
        assert!(Wish::of("limit=1001").is_err());
    }
}
