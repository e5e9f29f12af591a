use super::*;
use proptest::prelude::*;
use std::io;

/// A look, as one letter: a content, or `!` and `?` for failures.
fn look(letter: char) -> Result<Vec<u8>, FollowError> {
    let kind = match letter {
        '!' => io::ErrorKind::NotFound,
        '?' => io::ErrorKind::PermissionDenied,
        letter => return Ok(vec![letter as u8]),
    };
    Err(FollowError::Read { path: "f".into(), error: kind.into() })
}

/// One letter a look: `.` unchanged, `~` settling, a content, `-` failed, `+` recovered.
fn see(machine: &mut Machine, looks: &str) -> String {
    let steps = looks.chars().map(|letter| match machine.see(look(letter)) {
        Step::Unchanged => '.',
        Step::Settling => '~',
        Step::News(News::Changed(content)) => char::from(content[0]),
        Step::News(News::Failed(_)) => '-',
        Step::News(News::Recovered) => '+',
    });
    steps.collect()
}

fn machine() -> Machine {
    Machine::new([RandomState::new(), RandomState::new()])
}

#[test]
fn news_is_what_two_looks_agree_on() {
    for (looks, steps) in [
        ("aaa", "~a."),
        ("aaabb", "~a.~b"),
        ("aabaa", "~a~.."), // half a change that went away
        ("aabcc", "~a~~c"), // half of one that went on
        ("aabab", "~a~.~"),
        ("aabcbc", "~a~~~~"),
        ("aa!aa", "~a~.."), // a file that is replaced by deleting it first
        ("aa!bb", "~a~~b"),
        ("aa!!!", "~a~-."),
        ("aa!?!?", "~a~-~."), // it fails, whatever for
        ("aa!!??", "~a~-~-"), // but why is worth knowing
        ("aa!!aaa", "~a~-~+."),
        ("aa!!bb", "~a~-~b"),
        ("aa!!a!!", "~a~-~.."),
        ("!!aa", "~-~a"),
    ] {
        assert_eq!(see(&mut machine(), looks), steps, "{looks}");
    }
}

#[test]
fn what_is_read_at_the_start_is_known() {
    for (start, looks, steps) in
        [('a', "aabb", "..~b"), ('!', "!!aa", "..~a"), ('a', "!!aa", "~-~+")]
    {
        let mut machine = machine();
        machine.begin(&look(start));
        assert_eq!(see(&mut machine, looks), steps, "{start}, then {looks}");
    }
}

proptest! {
    #[test]
    fn it_tells_the_truth_once_and_in_the_end(looks in "[abc!?]{0,40}", end in "[abc!?]") {
        let mut machine = machine();
        let steps: Vec<char> = see(&mut machine, &looks).chars().collect();
        let looks: Vec<char> = looks.chars().collect();
        let mut told = None;
        for (i, step) in steps.iter().enumerate() {
            if matches!(step, '.' | '~') {
                continue;
            }
            let fails = |letter: char| matches!(letter, '!' | '?');
            prop_assert!(i > 0);
            let agree = looks[i] == looks[i - 1] || fails(looks[i]) && fails(looks[i - 1]);
            prop_assert!(agree, "two looks in a row");
            prop_assert_ne!(told, Some(looks[i]), "each once");
            prop_assert_eq!(*step == '-', fails(looks[i]));
            told = Some(looks[i]);
        }
        // Whatever came before, what stays is told.
        let last = see(&mut machine, &end.repeat(2));
        let news = last.chars().any(|step| !matches!(step, '.' | '~'));
        prop_assert!(news || told == end.chars().next(), "{}", last);
        prop_assert_eq!(see(&mut machine, &end), ".");
    }
}
