//! Vectors of flagd's own test suite, and the properties that a rollout relies on.
use super::{Bucketing, Split, SplitError, Unit};
use octostack_core::inspect::Value;
use proptest::prelude::*;

const ALL: [Bucketing; 3] = [Bucketing::V1, Bucketing::V2, Bucketing::V3];
const CARDS: [&str; 4] = ["clubs", "diamonds", "hearts", "spades"];

fn split(weights: &[u32]) -> Split {
    Split::new(weights.iter().copied()).unwrap()
}

fn card(version: Bucketing, prefix: &str, name: &str) -> &'static str {
    let key = format!("{prefix}{name}");
    let part = version.part(Unit::Text(&key), &split(&[25; 4]));
    CARDS[part.unwrap()]
}

#[test]
fn four_cards_by_flag_and_name() {
    let names = ["jack", "queen", "ten", "nine", "3"];
    let expected = [
        ["spades", "clubs", "diamonds", "hearts", "diamonds"],
        ["hearts", "spades", "clubs", "diamonds", "clubs"],
        ["diamonds", "diamonds", "clubs", "clubs", "spades"],
    ];
    for (version, expected) in ALL.into_iter().zip(expected) {
        let got = names.map(|name| card(version, "fractional-flag", name));
        assert_eq!(got, expected, "{version}");
    }
}

#[test]
fn four_cards_by_a_shared_seed() {
    let v1 = ["jack", "queen", "ten", "nine"].map(|n| card(Bucketing::V1, "shared-seed", n));
    assert_eq!(v1, ["hearts", "spades", "hearts", "diamonds"]);
    let names = ["seven", "eight", "nine", "two"];
    let v2 = names.map(|name| card(Bucketing::V2, "shared-seed", name));
    assert_eq!(v2, ["hearts", "diamonds", "clubs", "spades"]);
    let v3 = names.map(|name| card(Bucketing::V3, "shared-seed", name));
    assert_eq!(v3, ["hearts", "hearts", "diamonds", "diamonds"]);
}

#[test]
fn hashes_at_the_ends_and_in_the_middle() {
    let halves = split(&[50, 50]);
    let part = |key| Bucketing::V2.part(Unit::Text(key), &halves);
    for key in ["ejOoVL", "bY9fO-", "SI7p-"] {
        assert_eq!(part(key), Some(0), "{key}");
    }
    for key in ["6LvT0", "ceQdGm"] {
        assert_eq!(part(key), Some(1), "{key}");
    }
}

#[test]
fn the_targeting_key_is_mixed_with_the_flag() {
    let halves = split(&[1, 1]);
    let flag = "fractional-flag-shorthand";
    let parts = ["user-1", "user-2", "user-3"]
        .map(|key| Bucketing::V3.part(Unit::Targeting { flag, key }, &halves));
    assert_eq!(parts, [Some(0), Some(1), Some(0)]);
    for version in [Bucketing::V1, Bucketing::V2] {
        let joined = version.hash(Unit::Text("ab"));
        assert_eq!(version.hash(Unit::Targeting { flag: "a", key: "b" }), joined);
    }
}

/// Checks a value against the bucket, from 1, that it falls into of 25 equal ones.
#[track_caller]
fn check_bucket(value: &Value, bucket: usize) {
    let part = Bucketing::V3.part(Unit::Value(value), &split(&[1; 25]));
    assert_eq!(part, Some(bucket - 1), "{value}");
}

#[test]
fn booleans_and_texts() {
    check_bucket(&Value::Bool(true), 5);
    check_bucket(&Value::Bool(false), 1);
    let long = [("a".repeat(255), 18), ("a".repeat(256), 7)];
    let short = [("user1", 22), ("user2", 16), ("123", 22), ("true", 24), ("", 4)];
    let more = [("café façade résumé café", 9), ("あいうえおかきく", 16)];
    for (text, bucket) in short.into_iter().chain(more) {
        check_bucket(&Value::Text(text.into()), bucket);
    }
    for (text, bucket) in long {
        check_bucket(&Value::Text(text.into()), bucket);
    }
}

#[test]
fn whole_numbers() {
    let cases = [
        (0, 8),
        (23, 21),
        (24, 11),
        (123, 20),
        (255, 13),
        (256, 13),
        (65_535, 4),
        (65_536, 11),
        (-2, 12),
        (-24, 4),
        (-25, 16),
        (2_147_483_647, 10),
        (-2_147_483_648, 8),
    ];
    for (number, bucket) in cases {
        check_bucket(&Value::Integer(number), bucket);
    }
}

#[test]
fn numbers_in_their_shortest_form() {
    let cases = [
        (0.0, 8),
        (-0.0, 8),
        (1.0, 23),
        (-2.0, 12),
        (1.23, 14),
        (4.56, 18),
        (9_007_199_254_740_992.0, 10),
        (1e20, 19),
        (-1e20, 25),
        (65_504.0, 16),
        (-65_505.0, 17),
        (0.000_061_035_156_25, 22),
        (5.960_464_477_539_063e-8, 23),
        (3.402_823_466_385_288_6e38, 10),
        (1.175_494_350_822_287_5e-38, 24),
        (3.5e38, 1),
        (f64::MAX, 17),
        (5e-324, 2),
    ];
    for (number, bucket) in cases {
        check_bucket(&Value::Float(number), bucket);
    }
}

#[test]
fn maps_in_any_order() {
    let list = Value::List;
    let map = |entries: Vec<(&'static str, Value)>| Value::map(entries);
    let cases = [
        (map(vec![]), 3),
        (map(vec![("b", Value::Integer(2)), ("a", Value::Integer(1))]), 23),
        (map(vec![("aa", Value::Integer(2)), ("z", Value::Integer(1))]), 21),
        (map(vec![("ÿ", Value::Integer(2)), ("aaa", Value::Integer(1))]), 12),
        (map(vec![("key", Value::Float(-0.0))]), 10),
        (map(vec![("a", map(vec![])), ("b", list(vec![]))]), 7),
        (
            map(vec![
                ("a", list(vec![Value::Integer(1), list(vec![]), Value::Integer(3)])),
                ("b", Value::Null),
            ]),
            3,
        ),
    ];
    for (value, bucket) in cases {
        check_bucket(&value, bucket);
    }
}

#[test]
fn what_is_no_unit_gets_no_part() {
    let split = split(&[1, 1]);
    for value in [Value::Null, Value::List(vec![Value::Integer(1)])] {
        for version in ALL {
            assert_eq!(version.part(Unit::Value(&value), &split), None, "{version} {value}");
        }
    }
    for version in [Bucketing::V1, Bucketing::V2] {
        assert_eq!(version.part(Unit::Value(&Value::Integer(1)), &split), None);
        let text = Value::Text("user".into());
        let same = version.part(Unit::Text("user"), &split);
        assert_eq!(version.part(Unit::Value(&text), &split), same);
    }
}

#[test]
fn v1_has_no_place_for_the_largest_hashes_and_the_others_have() {
    let one = split(&[1]);
    for hash in [0x7fff_ffff, 0x8000_0000, 0x8000_0001] {
        assert_eq!(one.by_share(hash), None, "{hash:#x}");
        assert_eq!(one.by_projection(hash), 0);
    }
    assert_eq!(one.by_share(0xffff_ffff), Some(0));
    assert_eq!(split(&[1, 0, 1, 0]).by_projection(u32::MAX), 2, "a part of weight 0 gets nobody");
}

#[test]
fn weights_are_checked() {
    assert_eq!(Split::new([]), Err(SplitError::NoWeight));
    assert_eq!(Split::new([0, 0]), Err(SplitError::NoWeight));
    assert_eq!(Split::new([2_147_483_647, 1]), Err(SplitError::TooLarge));
    assert_eq!(Split::new([u32::MAX, u32::MAX]), Err(SplitError::TooLarge));
    assert_eq!(split(&[2_147_483_646, 1]).total(), 2_147_483_647);
}

#[test]
fn versions_read_back_as_they_are_written() {
    for version in ALL {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    let error = "V2".parse::<Bucketing>().unwrap_err().to_string();
    assert_eq!(error, "`V2` is no bucketing version; use `v1`, `v2` or `v3`");
}

/// Chi-square with 9 degrees of freedom: 27.9 is passed by one fair split in a thousand, and the
/// users are the same in every run.
#[test]
fn parts_get_their_share_of_users() {
    let weights = [1_u32, 2, 3, 5, 8, 13, 21, 34, 55, 58];
    let split = split(&weights);
    let users = 100_000_u32;
    for version in ALL {
        let mut seen = [0_u32; 10];
        for user in 0..users {
            let key = format!("user-{user}");
            let unit = Unit::Targeting { flag: "checkout", key: &key };
            seen[version.part(unit, &split).unwrap()] += 1;
        }
        let chi_square: f64 = std::iter::zip(seen, weights)
            .map(|(seen, weight)| {
                let fair = f64::from(weight) / f64::from(split.total()) * f64::from(users);
                (f64::from(seen) - fair).powi(2) / fair
            })
            .sum();
        assert!(chi_square < 27.9, "{version}: {chi_square:.1} from {seen:?}");
    }
}

#[test]
fn two_flags_pick_different_users() {
    let half = split(&[50, 50]);
    for version in ALL {
        let is_in =
            |flag: &str, key: &str| version.part(Unit::Targeting { flag, key }, &half) == Some(0);
        let users = (0..10_000).map(|user| format!("user-{user}"));
        let both = users.filter(|key| is_in("search", key) && is_in("checkout", key)).count();
        assert!((2_300..2_700).contains(&both), "{version}: {both} of 10000 are in both halves");
    }
}

proptest! {
    #[test]
    fn raising_a_percentage_only_adds_users(
        key in ".{0,20}",
        before in 0_u32..=100,
        more in 0_u32..=100,
    ) {
        let after = (before + more).min(100);
        for version in ALL {
            let is_on = |percent: u32| {
                version.part(Unit::Text(&key), &split(&[percent, 100 - percent])) == Some(0)
            };
            prop_assert!(!is_on(before) || is_on(after), "{} lost {:?}", version, key);
        }
    }

    #[test]
    fn a_part_is_never_one_without_weight(
        hash: u32,
        weights in prop::collection::vec(prop_oneof![Just(0), 0_u32..1_000_000], 1..8),
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let split = split(&weights);
        prop_assert!(weights[split.by_projection(hash)] > 0);
        if let Some(part) = split.by_share(hash) {
            prop_assert!(weights[part] > 0);
        }
    }
}
