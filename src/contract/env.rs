//! A file of variables, as `.env` and `docker run --env-file` read it.
use super::{Contract, Variable};
use std::fmt::Write as _;

const WIDTH: usize = 96;

/// Every variable with its doc. What has to be set has no `#` before it.
pub(super) fn render(contract: &Contract) -> String {
    let Contract { name, version, .. } = contract;
    let mut text = format!(
        "# What the environment can set for {name} {version}.\n\
         # Lines without `#` have to be filled in; the others show the defaults.\n"
    );
    for variable in &contract.variables {
        text.push('\n');
        entry(&mut text, contract, variable);
    }
    text
}

fn entry(text: &mut String, contract: &Contract, variable: &Variable) {
    let about = match &variable.key {
        Some(key) => format!("{key}: {}", variable.doc),
        None => variable.doc.clone(),
    };
    for line in wrap(about.trim_end_matches([' ', ':'])) {
        let _ = writeln!(text, "# {line}");
    }
    let need = if variable.required { "required" } else { "optional" };
    let _ = writeln!(text, "# {}, {need}", variable.expected);
    let mark = if variable.required { "" } else { "#" };
    if variable.secret {
        let of_it = |secret: &&super::SecretFile| Some(&secret.key) == variable.key.as_ref();
        if let Some(secret) = contract.secrets.iter().find(of_it) {
            let (dir, file) = (&contract.name, secret.file_name());
            let _ =
                writeln!(text, "# The path of the file that holds it: /run/secrets/{dir}/{file}");
            let _ = writeln!(text, "{mark}{}=", secret.file_variable);
        }
        return;
    }
    let default = variable.default.as_deref().unwrap_or_default();
    let _ = writeln!(text, "{mark}{}={}", variable.name, quoted(default));
}

/// As a shell and `.env` read it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/,+@%".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{text}'") }
}

/// Lines of words, none wider than it has to be.
pub(super) fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
