use super::{Numbers, Requests, Source, Stage};
use crate::{Clock, SystemClock};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn source(requests: &Requests) -> Source {
    requests.source(|numbers, request| {
        request.method = Some("GET");
        request.route = Some(format!("/{}", numbers.route));
        request.trace_id = (numbers.tag > 0).then(|| format!("t{}", numbers.tag));
    })
}

fn of(route: u32) -> Numbers {
    Numbers { method: 1, route, tag: u64::from(route) }
}

#[test]
fn shows_the_oldest_first_and_how_many_there_are() {
    let requests = Requests::new();
    let source = source(&requests);
    let start = SystemClock.now();
    let tickets: Vec<_> = (0..5).map(|n| source.begin(of(n), start + n * SECOND)).collect();
    let seen = requests.oldest(2, Duration::ZERO, start + 10 * SECOND);
    assert_eq!((seen.total, seen.matching), (5, 5));
    let texts: Vec<_> = seen.requests.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["GET /0 for 10s", "GET /1 for 9s (trace t1)"]);

    let seen = requests.oldest(9, 8 * SECOND, start + 10 * SECOND);
    assert_eq!((seen.total, seen.matching, seen.requests.len()), (5, 3, 3));
    for ticket in tickets {
        source.end(ticket);
    }
    assert_eq!(requests.oldest(9, Duration::ZERO, start).total, 0);
}

#[test]
fn keeps_numbers_apart() {
    let requests = Requests::new();
    let (_, second) = (source(&requests), source(&requests));
    let numbers = Numbers { method: u8::MAX, route: u32::MAX, tag: u64::MAX };
    let other = requests.source(move |seen, request| {
        assert_eq!(*seen, numbers);
        request.request_id = Some("other".into());
    });
    let now = SystemClock.now();
    let (a, b) = (second.begin(of(7), now), other.begin(numbers, now));
    other.reached(&b, Stage::Upgraded);
    let seen = requests.oldest(9, Duration::ZERO, now);
    let of_other = seen.requests.iter().find(|r| r.request_id.is_some()).unwrap();
    assert_eq!(of_other.stage, Stage::Upgraded);
    let of_second = seen.requests.iter().find(|r| r.request_id.is_none()).unwrap();
    assert_eq!((of_second.stage, of_second.route.as_deref()), (Stage::Handler, Some("/7")));
    second.end(a);
    other.end(b);
}

#[test]
fn counts_by_route_and_stage() {
    let requests = Requests::new();
    let source = source(&requests);
    let now = SystemClock.now();
    let tickets: Vec<_> = [1, 2, 2].map(|route| source.begin(of(route), now)).into();
    source.reached(&tickets[0], Stage::Stream);
    let all = requests.by_route(&[]);
    assert_eq!(all, [("GET /2".to_owned(), 2), ("GET /1".to_owned(), 1)]);
    let streams = requests.by_route(&[Stage::Stream, Stage::Upgraded]);
    assert_eq!(streams, [("GET /1".to_owned(), 1)]);
    for ticket in tickets {
        source.end(ticket);
    }
}

#[test]
fn a_request_that_ends_while_it_is_explained_is_not_shown_as_another() {
    use std::sync::{Arc, Mutex};
    let requests = Requests::new();
    let ending = Arc::new(Mutex::new(None::<(Source, super::Ticket)>));
    let there = Arc::clone(&ending);
    let source = requests.source(move |_, _| {
        if let Some((source, ticket)) = there.lock().unwrap().take() {
            source.end(ticket);
            let _next = source.begin(of(2), SystemClock.now());
        }
    });
    let ticket = source.begin(of(1), SystemClock.now());
    *ending.lock().unwrap() = Some((source, ticket));
    let seen = requests.oldest(9, Duration::ZERO, SystemClock.now());
    assert_eq!((seen.total, seen.requests.len()), (1, 0));
}
