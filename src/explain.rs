//! What the command `config` prints: settings with their sources, and what can be set.
use octostack_core::config::{Key, Reference, Report, Setting};
use octostack_core::inspect::Value;
use std::fmt::Write as _;

/// The settings that `wanted` names: all of them, one, or those of a section.
///
/// # Errors
/// That there is none, with the nearest name.
pub(crate) fn select<'a>(
    report: &'a Report,
    wanted: Option<&str>,
) -> Result<Vec<&'a Setting>, String> {
    let Some(wanted) = wanted else { return Ok(sorted(report.iter().collect())) };
    let within = |setting: &&Setting| {
        let rest = setting.key.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let found: Vec<_> = report.iter().filter(within).collect();
    if !found.is_empty() {
        return Ok(sorted(found));
    }
    Err(match report.nearest(wanted) {
        Some(name) => format!("there is no setting `{wanted}`; did you mean `{name}`?"),
        None => format!("there is no setting `{wanted}`; `config` lists them"),
    })
}

fn sorted(mut settings: Vec<&Setting>) -> Vec<&Setting> {
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

/// In columns, for people: key, value, source; below it what that beat.
pub(crate) fn columns(settings: &[&Setting]) -> String {
    let width = |of: &dyn Fn(&Setting) -> usize, most: usize| {
        settings.iter().map(|setting| of(setting)).filter(|width| *width <= most).max().unwrap_or(0)
    };
    let key = width(&|setting| setting.key.chars().count(), 60);
    let value = width(&|setting| setting.value.to_string().chars().count(), 40);
    let mut text = String::new();
    for setting in settings {
        // Writing to a String cannot fail.
        let shown = setting.value.to_string();
        let _ = writeln!(text, "{:key$}  {shown:value$}  {}", setting.key, setting.origin);
        for beaten in &setting.shadowed {
            let old = beaten.value.to_string();
            let _ = writeln!(text, "{:key$}  {old:value$}  beaten: {}", "", beaten.origin);
        }
    }
    text
}

/// As JSON, by key.
pub(crate) fn json(settings: &[&Setting]) -> String {
    let entries = settings.iter().map(|setting| {
        let mut entry = setting.status();
        if let Value::Map(fields) = &mut entry {
            fields.push(("secret".into(), setting.secret.into()));
        }
        (setting.key.clone(), entry)
    });
    pretty(&Value::map(entries).to_string())
}

/// JSON on many lines.
pub(crate) fn pretty(json: &str) -> String {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(json);
    parsed.and_then(|json| serde_json::to_string_pretty(&json)).unwrap_or_else(|_| json.to_owned())
}

/// What can be set, as Markdown: the service's own settings, then each section of the framework.
pub(crate) fn markdown(name: &str, reference: &Reference) -> String {
    let mut text = format!("# Settings of {name}\n");
    let section = |key: &Key| match key.path.split('.').next() {
        Some(section) if key.framework => section.to_owned(),
        _ => String::new(),
    };
    let mut sections: Vec<String> = Vec::new();
    for key in reference {
        let section = section(key);
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    sections.sort();
    for current in sections {
        let heading = if current.is_empty() { "Its own" } else { current.as_str() };
        let _ = writeln!(text, "\n## {heading}\n");
        text += "| key | variable | type | default | takes effect | |\n|---|---|---|---|---|---|\n";
        for key in reference.iter().filter(|key| section(key) == current) {
            text += &row(key);
        }
    }
    text
}

fn row(key: &Key) -> String {
    let default = match &key.default {
        Some(value) => format!("`{}`", cell(&plain(value))),
        None if key.required => "required".to_owned(),
        None => String::new(),
    };
    let usual = key.variables.first().map(String::as_str).unwrap_or_default();
    let file = if key.secret { "_FILE" } else { "" };
    let variables = key.bare.iter().map(String::as_str).chain([usual]);
    let variables: Vec<_> = variables.map(|name| format!("`{name}{file}`")).collect();
    let old = if key.deprecated { "Deprecated. " } else { "" };
    let effect = if key.reloadable { "reload" } else { "restart" };
    format!(
        "| `{}` | {} | {} | {default} | {effect} | {old}{} |\n",
        cell(&key.path),
        variables.join(", "),
        cell(&key.expected),
        cell(&key.doc.split("\n\n").next().unwrap_or_default().replace('\n', " ")),
    )
}

fn plain(value: &Value) -> String {
    value.as_str().filter(|text| !text.is_empty()).map_or_else(|| value.to_string(), str::to_owned)
}

/// What a cell of a table may hold.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
