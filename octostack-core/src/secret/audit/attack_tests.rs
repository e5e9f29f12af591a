//! What somebody does who wants to change the record and not be found.

use super::tests::{Dir, read, written};
use super::*;
use std::fs;

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
