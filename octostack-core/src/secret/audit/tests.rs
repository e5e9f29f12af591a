use super::file::Step;
use super::*;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("octostack-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    pub(super) fn config(&self) -> AuditConfig {
        AuditConfig::new(self.file())
    }

    pub(super) fn open(&self) -> Audit {
        Audit::open(&self.config(), "orders", "orders-1").unwrap()
    }

    pub(super) fn verify(&self) -> Result<Verified, String> {
        verify(&self.file(), None).map_err(|tampered| tampered.to_string())
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    pub(super) fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.file(), text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn read(consumer: &str) -> Record<'_> {
    Record::new("read").reference("vault://kv/orders#password").consumer(consumer)
}

/// A log that was opened and has these many accesses.
pub(super) fn written(dir: &Dir, accesses: usize) -> Audit {
    let audit = dir.open();
    for number in 0..accesses {
        audit.record(&read(&format!("pool-{number}")).version(7, Some("v7"))).unwrap();
    }
    audit
}

#[test]
fn a_line_says_who_had_what_and_how_it_ended() {
    let dir = Dir::new("line");
    let audit = dir.open();
    let lease = LeaseId::new("database/creds/orders/abcd");
    audit.record(&read("database.password").version(3, Some("v3")).lease(Some(&lease))).unwrap();
    let denied =
        Record::new("fetch").reference("vault://kv/x").outcome("refused", Some("no\n\"way\""));
    audit.record(&denied).unwrap();
    audit.record(&Record::new("retire").reference(&"x".repeat(10_000)).reads(12)).unwrap();
    let lines: Vec<serde_json::Value> =
        dir.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["action"], "open");
    let read = &lines[1];
    assert_eq!((&read["v"], &read["seq"], &read["version"]), (&1.into(), &2.into(), &3.into()));
    assert_eq!(read["service"], "orders");
    assert_eq!(read["instance"], "orders-1");
    assert_eq!(read["consumer"], "database.password");
    assert_eq!(read["reference"], "vault://kv/orders#password");
    assert_eq!(read["provider_version"], "v3");
    assert_eq!(read["outcome"], "ok");
    assert_eq!(read["prev"], lines[0]["hash"]);
    assert_eq!(read["ts"].as_str().unwrap().len(), 27);
    assert_eq!(read["lease"].as_str().unwrap().len(), 16);
    assert!(!dir.text().contains("abcd"), "whoever has the id can end the lease");
    assert_eq!(
        (&lines[2]["outcome"], &lines[2]["reason"]),
        (&"refused".into(), &"no\n\"way\"".into())
    );
    assert_eq!(lines[3]["reference"].as_str().unwrap().len(), 512);
    assert_eq!(dir.verify().unwrap().lines, 4);
    assert_eq!(dir.verify().unwrap().head, audit.head());
    assert_eq!(audit.counts(), (4, 0));
}

#[test]
fn whatever_byte_is_changed_it_is_found() {
    let dir = Dir::new("bytes");
    drop(written(&dir, 2));
    let good = dir.text().into_bytes();
    for at in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            dir.write(&bad);
            assert!(dir.verify().is_err(), "byte {at} ^ {flip:#x}");
        }
    }
    dir.write(&good);
    assert_eq!(dir.verify().unwrap().notes, [""; 0]);
}

#[test]
fn wherever_it_is_cut_it_is_found() {
    let dir = Dir::new("cut");
    drop(written(&dir, 2));
    let good = dir.text().into_bytes();
    for length in 0..good.len() {
        dir.write(&good[..length]);
        let said = dir.verify().unwrap_err();
        assert!(said.contains("and line 3 is known of"), "{length}: {said}");
    }
    // A line more than the head knows of, in part, is what a crash leaves.
    let next = String::from_utf8(good.clone()).unwrap() + "{\"v\":1,\"seq\":4,\"ts\":\"2026";
    dir.write(next);
    let notes = dir.verify().unwrap().notes;
    assert!(notes[0].contains("bytes after the last line"), "{notes:?}");
}

#[test]
fn a_line_that_is_removed_repeated_moved_or_put_in_is_found() {
    let dir = Dir::new("lines");
    drop(written(&dir, 4));
    let good: Vec<String> = dir.text().lines().map(|line| format!("{line}\n")).collect();
    let said = |lines: &[String]| {
        dir.write(lines.concat());
        dir.verify().unwrap_err()
    };
    for at in 0..good.len() {
        let mut removed = good.clone();
        removed.remove(at);
        let what = said(&removed);
        assert!(what.contains("gone") || what.contains("is known of"), "{at}: {what}");
        let mut twice = good.clone();
        twice.insert(at, good[at].clone());
        assert!(said(&twice).contains(&format!("line {}: ", at + 2)));
        for other in at + 1..good.len() {
            let mut moved = good.clone();
            moved.swap(at, other);
            said(&moved);
        }
    }
    let other = Dir::new("lines-other");
    drop(written(&other, 4));
    for at in 0..good.len() {
        let mut foreign = good.clone();
        foreign[at] = other.text().lines().nth(at).unwrap().to_owned() + "\n";
        said(&foreign);
    }
    for junk in ["\n", "x\n", "{}\n", "\u{0}\n", "[1]\n"] {
        said(&[good.concat(), junk.to_owned()]);
        said(&[junk.to_owned(), good.concat()]);
    }
    let long = "x".repeat(100_000);
    assert!(said(&[good.concat(), long]).contains("longer than any line"));
}

#[test]
fn a_log_that_was_rewritten_as_a_whole_is_found_by_an_anchor() {
    let dir = Dir::new("anchor");
    let audit = written(&dir, 3);
    let anchor: Anchor = audit.head().parse().unwrap();
    drop(audit);
    assert!(verify(&dir.file(), Some(anchor)).is_ok());
    // Going on is fine.
    drop(written(&dir, 3));
    assert!(verify(&dir.file(), Some(anchor)).is_ok());

    fs::remove_dir_all(&dir.0).unwrap();
    fs::create_dir_all(&dir.0).unwrap();
    drop(written(&dir, 9));
    assert!(dir.verify().is_ok(), "by itself it looks right");
    let said = verify(&dir.file(), Some(anchor)).unwrap_err().to_string();
    assert!(said.contains("line 4 is another line than the one that is known of"), "{said}");
    for wrong in ["", "4", "4:", "x:ab", "0:00", "4:zz"] {
        assert!(wrong.parse::<Anchor>().is_err(), "{wrong}");
    }
}

#[test]
fn without_its_head_a_log_is_not_trusted_unless_an_anchor_is_there() {
    let dir = Dir::new("head");
    let audit = written(&dir, 3);
    let anchor = audit.head().parse().unwrap();
    drop(audit);
    let head = dir.0.join("audit.jsonl.head");
    let good = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    assert!(dir.verify().unwrap_err().contains("audit.jsonl.head: it is gone"));
    assert!(verify(&dir.file(), Some(anchor)).is_ok());
    for wrong in ["", "x", "4:abc", "-1:00"] {
        fs::write(&head, wrong).unwrap();
        assert!(dir.verify().unwrap_err().contains("it is no head"), "{wrong}");
        assert!(Audit::open(&dir.config(), "orders", "1").is_err());
    }
    fs::write(&head, good).unwrap();
    assert!(dir.verify().is_ok());
    let nothing = Dir::new("nothing");
    assert!(nothing.verify().unwrap_err().contains("cannot read it"));
}

#[test]
fn one_process_writes_and_others_may_not() {
    let dir = Dir::new("one");
    let audit = dir.open();
    let error = Audit::open(&dir.config(), "orders", "orders-2").unwrap_err();
    assert!(error.to_string().contains("another process writes it"), "{error}");
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(dir.file()), mode(dir.0.join("audit.jsonl.head"))), (0o600, 0o600));
    drop(audit);
    fs::set_permissions(dir.file(), fs::Permissions::from_mode(0o622)).unwrap();
    let error = Audit::open(&dir.config(), "orders", "orders-2").unwrap_err();
    assert!(error.to_string().contains("others may write it; `chmod go-w"), "{error}");
    let nowhere = AuditConfig::new(dir.0.join("no/such/audit.jsonl"));
    assert!(Audit::open(&nowhere, "orders", "1").unwrap_err().to_string().contains("cannot open"));
}

#[test]
fn a_large_log_goes_on_in_another_file_and_is_verified_as_a_whole() {
    let dir = Dir::new("large");
    let config = dir.config().with_max_bytes(2000);
    let audit = Audit::open(&config, "orders", "1").unwrap();
    for _ in 0..20 {
        audit.record(&read("pool")).unwrap();
    }
    drop(audit);
    let verified = dir.verify().unwrap();
    assert!(verified.files > 3 && verified.lines > 23, "{verified:?}");
    let mut names: Vec<_> = fs::read_dir(&dir.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            name.strip_prefix("audit.jsonl.").is_some_and(|it| it.parse::<u64>().is_ok())
        })
        .collect();
    names.sort_by_key(|name| name.rsplit('.').next().unwrap().parse::<u64>().unwrap());

    let middle = dir.0.join(&names[1]);
    let kept = fs::read(&middle).unwrap();
    fs::remove_file(&middle).unwrap();
    assert!(dir.verify().unwrap_err().contains("lines before it are gone"));
    fs::write(&middle, &kept[..kept.len() - 1]).unwrap();
    assert!(dir.verify().unwrap_err().contains("its last line was cut"));
    fs::write(&middle, kept).unwrap();
    fs::remove_file(dir.0.join(&names[0])).unwrap();
    let notes = dir.verify().unwrap().notes;
    assert!(notes[0].contains("are in files that are not here"), "{notes:?}");
}

#[test]
fn a_file_that_is_moved_away_is_noticed_and_nothing_is_lost() {
    let dir = Dir::new("moved");
    let audit = written(&dir, 2);
    fs::rename(dir.file(), dir.0.join("audit.jsonl.3")).unwrap();
    audit.record(&read("pool")).unwrap();
    let verified = dir.verify().unwrap();
    assert_eq!((verified.files, verified.lines), (2, 5));
    assert!(dir.text().contains("was moved or removed by somebody else"));
    fs::remove_file(dir.file()).unwrap();
    fs::write(dir.file(), "another\n").unwrap();
    let error = audit.record(&read("pool")).unwrap_err();
    assert!(error.to_string().contains("another file is in its place"), "{error}");
    assert!(audit.abnormal().is_some());
}

#[test]
fn files_that_others_number_backwards_are_read_in_their_order() {
    let dir = Dir::new("numbered");
    let audit = written(&dir, 2);
    let (first, second) = (dir.0.join("audit.jsonl.2"), dir.0.join("audit.jsonl.1"));
    fs::rename(dir.file(), &first).unwrap();
    audit.record(&read("b")).unwrap();
    fs::rename(dir.file(), &second).unwrap();
    audit.record(&read("c")).unwrap();
    drop(audit);
    assert_eq!(dir.verify().unwrap().files, 3);

    let text = fs::read_to_string(&second).unwrap();
    fs::write(&second, text.replace("\"b\"", "\"x\"")).unwrap();
    let what = dir.verify().unwrap_err();
    assert!(what.contains("audit.jsonl.1: line 2: it was changed"), "{what}");
}

#[test]
fn a_log_that_somebody_cuts_or_adds_to_is_not_gone_on_with() {
    let dir = Dir::new("changed");
    let audit = written(&dir, 2);
    let good = dir.text();
    dir.write(&good[..good.len() - 1]);
    assert!(audit.record(&read("pool")).unwrap_err().to_string().contains("somebody else"));
    dir.write(good.clone() + "more\n");
    assert!(audit.record(&read("pool")).is_err());
    dir.write(&good);
    audit.record(&read("pool")).unwrap();
    assert_eq!((dir.verify().unwrap().lines, audit.counts()), (4, (4, 2)));
    assert_eq!(audit.abnormal(), None);
    drop(audit);

    // A start finds that lines are gone.
    let lines: Vec<_> = dir.text().lines().map(|line| format!("{line}\n")).collect();
    dir.write(lines[..2].concat());
    let error = Audit::open(&dir.config(), "orders", "1").unwrap_err();
    assert!(error.to_string().contains("lines are gone"), "{error}");
    assert_eq!(dir.text(), lines[..2].concat(), "it is as it was found");
    let config = dir.config().with_mode(AuditMode::BestEffort);
    Audit::open(&config, "orders", "1").unwrap().record(&read("pool")).unwrap();
    assert!(dir.text().contains("knows of line 4"));
    assert!(dir.verify().unwrap_err().contains("lines before it are gone"), "for ever");
}

/// Whether a step is one of writing in this mode.
fn happens(step: Step, mode: AuditMode) -> bool {
    step != Step::Directory || mode == AuditMode::Block
}

/// Whatever step fails, the access is refused, or only counted, and the log goes on.
#[test]
fn a_write_that_fails_leaves_a_log_that_goes_on() {
    for mode in [AuditMode::Block, AuditMode::BestEffort] {
        for step in Step::ALL.into_iter().filter(|step| happens(*step, mode)) {
            let dir = Dir::new("fails");
            let config = dir.config().with_mode(mode).with_max_bytes(1000);
            let audit = Audit::open(&config, "orders", "1").unwrap();
            let mut failed = 0;
            for number in 0..10 {
                let fails = number % 3 == 1;
                lock(&audit.shared.log).before = fails.then(|| -> Box<dyn Fn(Step) -> _ + Send> {
                    Box::new(move |at| {
                        let full = || io::Error::new(io::ErrorKind::StorageFull, "no space left");
                        if at == step { Err(full()) } else { Ok(()) }
                    })
                });
                let recorded = audit.record(&read("pool"));
                failed += usize::from(recorded.is_err());
                assert!(mode == AuditMode::Block || recorded.is_ok());
            }
            lock(&audit.shared.log).before = None;
            audit.record(&read("last")).unwrap();
            let (_, failures) = audit.counts();
            let steps_happen = matches!(step, Step::Line | Step::Sync | Step::Head);
            assert!(failures > 0 || !steps_happen, "{step:?}");
            assert!(mode == AuditMode::BestEffort || failed as u64 == failures);
            drop(audit);
            let verified = dir.verify().unwrap();
            assert!(dir.text().contains("last") && verified.notes.is_empty(), "{verified:?}");
        }
    }
}

/// Whatever step the process is killed at, the log is right, and right again after the next start.
#[test]
fn a_process_that_ends_at_any_step_leaves_a_log_that_is_verified() {
    for mode in [AuditMode::Block, AuditMode::BestEffort] {
        for step in Step::ALL.into_iter().filter(|step| happens(*step, mode)) {
            let dir = Dir::new("killed");
            let config = dir.config().with_mode(mode).with_max_bytes(1500);
            let mut killed = 0;
            for _ in 0..6 {
                let audit = Audit::open(&config, "orders", "1").unwrap();
                lock(&audit.shared.log).before = Some(Box::new(move |at| {
                    assert!(at != step, "killed");
                    Ok(())
                }));
                for _ in 0..5 {
                    let record = || audit.record(&read("pool"));
                    if catch_unwind(AssertUnwindSafe(record)).is_err() {
                        killed += 1;
                        break;
                    }
                }
                drop(audit);
                let verified = dir.verify();
                assert!(verified.is_ok(), "{mode:?} {step:?}: {verified:?}");
            }
            assert!(killed > 0, "{step:?}");
            let audit = Audit::open(&config, "orders", "1").unwrap();
            drop(audit);
            let verified = dir.verify().unwrap();
            assert_eq!(verified.notes, [""; 0], "{mode:?} {step:?}");
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_told() {
    let config = AuditConfig::new("..").with_max_bytes(10);
    let problems = config.validate().unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["file", "max_bytes"]);
    assert_eq!(AuditConfig::new("a").with_max_bytes(0).validate(), Ok(()));
    assert_eq!(AuditConfig::default().validate(), Ok(()));
}
