//! Tells the program which compiler made it: another one makes other instructions.
use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // `rustc 1.95.0 (f2d3ce0bd 2026-03-21)`: a patch release makes the same.
    let text = text.unwrap_or_default();
    let version = text.split(' ').nth(1).and_then(|version| version.rsplit_once('.'));
    let version = version.map_or("unknown", |(minor, _)| minor);
    println!("cargo:rustc-env=OCTOSTACK_COMPILER={version}");
}
