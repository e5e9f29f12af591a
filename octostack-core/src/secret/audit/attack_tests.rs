//! What somebody does who wants to change the record and not be found.

use super::tests::{Dir, read, written};
use super::*;
use std::fs;

/// The lines of the log, each with its end.
fn lines(dir: &Dir) -> Vec<String> {
    dir.text().lines().map(|line| format!("{line}\n")).collect()
}

/// Lines that say something else, with hashes that fit: from the line at `from` on.
fn forged(lines: &[String], from: usize, what: (&str, &str)) -> Vec<String> {
    let mut forged = lines[..from].to_vec();
    let mut before = None;
    for line in &lines[from..] {
        let (body, _) = line.rsplit_once(",\"hash\":\"").unwrap();
        let mut body = body.replace(what.0, what.1);
        if let Some(hash) = before {
            let (start, _) = body.rsplit_once(",\"prev\":\"").unwrap();
            body = format!("{start},\"prev\":\"{hash}\"");
        }
        let hash = line::Hash::of(body.as_bytes());
        forged.push(format!("{body},\"hash\":\"{hash}\"}}\n"));
        before = Some(hash);
    }
    forged
}

#[test]
fn a_start_does_not_go_on_with_lines_that_the_head_does_not_know() {
    for more in 0..3 {
        let dir = Dir::new(&format!("forged-{more}"));
        drop(written(&dir, 4));
        let good = lines(&dir);
        // The head stays as it is; what it knows is changed, and lines may be put after it.
        let mut bad = forged(&good, 3, ("pool-", "pond-"));
        let other = Dir::new("forged-other");
        drop(written(&other, 4 + more));
        if more > 0 {
            bad = lines(&other);
        }
        dir.write(bad.concat());
        assert!(dir.verify().is_err(), "{more}");
        let error = Audit::open(&dir.config(), "orders", "1").unwrap_err().to_string();
        assert!(error.contains("line 5 is another one"), "{more}: {error}");
        assert_eq!(dir.text(), bad.concat(), "it is as it was found");
        let config = dir.config().with_mode(AuditMode::BestEffort);
        Audit::open(&config, "orders", "1").unwrap().record(&read("pool")).unwrap();
        assert!(dir.text().contains("line 5 is another one"));
        assert!(dir.verify().is_err(), "{more}: for ever");
    }
}

#[test]
fn a_log_whose_head_is_gone_is_not_gone_on_with() {
    let dir = Dir::new("headless");
    drop(written(&dir, 4));
    let cut = lines(&dir)[..3].concat();
    dir.write(&cut);
    fs::remove_file(dir.0.join("audit.jsonl.head")).unwrap();
    let error = Audit::open(&dir.config(), "orders", "1").unwrap_err().to_string();
    assert!(error.contains("audit.jsonl.head is gone"), "{error}");
    assert_eq!(dir.text(), cut, "it is as it was found");
    let config = dir.config().with_mode(AuditMode::BestEffort);
    Audit::open(&config, "orders", "1").unwrap().record(&read("pool")).unwrap();
    assert!(dir.text().contains("audit.jsonl.head is gone"));
    let notes = dir.verify().unwrap().notes;
    assert!(notes[0].contains("line 4 says that lines before it may be gone"), "{notes:?}");
}

#[test]
fn an_anchor_that_is_not_among_the_lines_is_no_proof() {
    let dir = Dir::new("before");
    let audit = written(&dir, 4);
    let anchor = |line: usize| -> Anchor {
        let text = lines(&dir)[line - 1].clone();
        let hash = text.rsplit_once(",\"hash\":\"").unwrap().1.trim_end_matches("\"}\n").to_owned();
        format!("{line}:{hash}").parse().unwrap()
    };
    let (early, last) = (anchor(2), anchor(5));
    let wrong: Anchor = format!("5:{}", "ab".repeat(32)).parse().unwrap();
    fs::remove_file(dir.file()).unwrap();
    audit.record(&read("pool")).unwrap();
    drop(audit);
    assert!(dir.verify().unwrap().notes[0].contains("in files that are not here"));
    let said = |anchor| verify(&dir.file(), Some(anchor)).map_err(|it| it.to_string());
    assert!(said(last).is_ok(), "the first line here holds its hash");
    let what = said(early).unwrap_err();
    assert!(what.contains("line 2 is not among them"), "{what}");
    assert!(said(wrong).unwrap_err().contains("all was rewritten"));
}

#[test]
fn what_others_did_to_the_file_is_left_as_it_is() {
    let dir = Dir::new("left");
    let audit = written(&dir, 2);
    let good = dir.text();
    for wrong in [String::new(), good[..good.len() - 1].to_owned(), good + "more\n"] {
        dir.write(&wrong);
        for _ in 0..3 {
            assert!(audit.record(&read("pool")).is_err());
            assert!(dir.text() == wrong, "it was changed");
        }
    }
}

#[test]
fn no_text_makes_a_line_that_cannot_be_read() {
    let dir = Dir::new("longest");
    let worst = "\u{1}".repeat(600);
    let audit = Audit::open(&dir.config(), &worst, &worst).unwrap();
    let record = Record::new("read").reference(&worst).consumer(&worst);
    let record = record.version(1, Some(&worst)).outcome("refused", Some(&worst));
    audit.record(&record).unwrap();
    drop(audit);
    assert_eq!(dir.verify().unwrap().lines, 2);
    assert!(Audit::open(&dir.config(), &worst, &worst).is_ok());
}

#[test]
fn what_verify_says_is_not_for_a_line_to_choose() {
    let dir = Dir::new("spoofed");
    drop(written(&dir, 1));
    let good = lines(&dir);
    let bad = forged(&good, 1, ("\"ts\":\"", "\"ts\":\"\\u001b[2J99 lines\\n"));
    dir.write(bad.concat());
    fs::remove_file(dir.0.join("audit.jsonl.head")).unwrap();
    let hash = bad[1].rsplit_once(",\"hash\":\"").unwrap().1.trim_end_matches("\"}\n").to_owned();
    fs::write(dir.0.join("audit.jsonl.head"), format!("2:{hash}")).unwrap();
    let said = dir.verify().map(|it| it.to_string());
    assert!(said.as_ref().is_err_and(|what| !what.contains('\u{1b}')), "{said:?}");
}

#[test]
fn with_best_effort_a_start_goes_on_without_its_first_line() {
    let dir = Dir::new("effort");
    let next = dir.0.join("audit.jsonl.head.next");
    fs::create_dir_all(next.join("in the way")).unwrap();
    assert!(Audit::open(&dir.config(), "orders", "1").is_err());
    let config = dir.config().with_mode(AuditMode::BestEffort);
    let audit = Audit::open(&config, "orders", "1").unwrap();
    assert_eq!(audit.counts(), (0, 1));
    assert!(audit.abnormal().is_some());
    fs::remove_dir_all(&next).unwrap();
    audit.record(&read("pool")).unwrap();
    assert_eq!(audit.abnormal(), None);
    drop(audit);
    assert!(dir.verify().is_ok());
}

/// Killed in the middle of a line, and moved away before it is started again.
#[test]
fn a_torn_line_in_a_file_that_was_moved_is_no_cut() {
    let dir = Dir::new("torn-moved");
    drop(written(&dir, 2));
    dir.write(dir.text() + "{\"v\":1,\"seq\":4,\"ts\":\"2026");
    fs::rename(dir.file(), dir.0.join("audit.jsonl.1")).unwrap();
    drop(written(&dir, 1));
    let verified = dir.verify().unwrap();
    assert!(verified.notes[0].contains("bytes after the last line"), "{verified:?}");
}

#[test]
fn a_link_that_lies_in_wait_for_the_head_is_not_written_through() {
    let dir = Dir::new("link");
    let (victim, next) = (dir.0.join("victim"), dir.0.join("audit.jsonl.head.next"));
    fs::write(&victim, "precious").unwrap();
    for _ in 0..2 {
        std::os::unix::fs::symlink(&victim, &next).unwrap();
        drop(written(&dir, 1));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(dir.verify().is_ok());
    }
}

#[test]
fn a_copy_of_a_log_that_was_cut_is_gone_on_with_at_the_next_start() {
    let dir = Dir::new("copied");
    let audit = written(&dir, 2);
    fs::copy(dir.file(), dir.0.join("audit.jsonl.1")).unwrap();
    dir.write("");
    assert!(audit.record(&read("pool")).is_err());
    drop(audit);
    drop(written(&dir, 1));
    let verified = dir.verify().unwrap();
    assert_eq!((verified.files, verified.lines), (2, 6), "{verified:?}");
}

#[test]
fn many_threads_write_one_chain_while_others_look() {
    let dir = Dir::new("threads");
    let audit = dir.open();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| audit.record(&read("pool")).unwrap()));
            scope.spawn(|| (0..25).for_each(|_| drop((audit.status(), audit.abnormal()))));
        }
    });
    drop(audit);
    assert_eq!(dir.verify().unwrap().lines, 201);
}
