//! As much of Gherkin as the suite uses: backgrounds, outlines with several tables, tags, and
//! tables below a step.

/// A scenario with one row of its examples filled in.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// What a step says.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Nothing,
    Flag { kind: String, key: String, fallback: String },
    TargetingKey(String),
    Attribute { key: String, kind: String, value: String },
    Nested { outer: String, inner: String, value: String },
    ValueIs(String),
    ReasonIs(String),
    ErrorIs(String),
    MetadataHas { key: String, kind: String, value: String },
    MetadataIsEmpty,
}

#[derive(Default)]
struct Scenario {
    name: String,
    tags: Vec<String>,
    lines: Vec<Line>,
    tables: Vec<Table>,
}

/// A step, and the rows of the table below it.
#[derive(Clone)]
struct Line {
    text: String,
    rows: Vec<Vec<String>>,
}

#[derive(Default)]
struct Table {
    tags: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// All cases of a feature.
pub(crate) fn cases(feature: &str) -> Vec<Case> {
    let mut background = Vec::new();
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut feature_tags = Vec::new();
    let mut tags = Vec::new();
    let mut in_examples = false;
    for line in feature.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
        } else if line.starts_with('@') {
            tags.extend(line.split_whitespace().map(str::to_owned));
        } else if line.starts_with("Feature:") {
            feature_tags = std::mem::take(&mut tags);
        } else if line.starts_with("Background:") {
            in_examples = false;
        } else if line.starts_with("Scenario") {
            let name = line.split_once(':').unwrap().1.trim().to_owned();
            let tags = std::mem::take(&mut tags);
            scenarios.push(Scenario { name, tags, ..Scenario::default() });
            in_examples = false;
        } else if line.starts_with("Examples") {
            let tags = std::mem::take(&mut tags);
            scenarios.last_mut().unwrap().tables.push(Table { tags, rows: Vec::new() });
            in_examples = true;
        } else if let Some(row) = line.strip_prefix('|') {
            let row = row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned());
            let scenario = scenarios.last_mut().unwrap();
            let rows = if in_examples {
                &mut scenario.tables.last_mut().unwrap().rows
            } else {
                &mut scenario.lines.last_mut().unwrap().rows
            };
            rows.push(row.collect());
        } else {
            let line = Line { text: line.to_owned(), rows: Vec::new() };
            match scenarios.last_mut() {
                Some(scenario) => scenario.lines.push(line),
                None => background.push(line),
            }
        }
    }
    scenarios.iter().flat_map(|scenario| scenario.cases(&feature_tags, &background)).collect()
}

impl Scenario {
    fn cases(&self, feature_tags: &[String], background: &[Line]) -> Vec<Case> {
        let lines = [background, &self.lines].concat();
        let case = |table_tags: &[String], fill: &dyn Fn(&str) -> String| Case {
            name: fill(&self.name),
            tags: [feature_tags, &self.tags, table_tags].concat(),
            steps: lines.iter().flat_map(|line| steps(line, fill)).collect(),
        };
        if self.tables.is_empty() {
            return vec![case(&[], &|text| text.to_owned())];
        }
        let mut cases = Vec::new();
        for Table { tags, rows } in &self.tables {
            let (head, rows) = rows.split_first().unwrap();
            for row in rows {
                let fill = |text: &str| {
                    let mut text = text.to_owned();
                    for (name, value) in head.iter().zip(row) {
                        text = text.replace(&format!("<{name}>"), value);
                    }
                    text
                };
                let mut case = case(tags, &fill);
                case.name = format!("{} {row:?}", case.name);
                cases.push(case);
            }
        }
        cases
    }
}

/// A step is known by its words; what stands in quotes is its arguments.
fn steps(line: &Line, fill: &dyn Fn(&str) -> String) -> Vec<Step> {
    let text = fill(&line.text);
    let (_, text) = text.split_once(' ').unwrap();
    let text = text.replace("\\\"", "\u{1}");
    let parts: Vec<_> = text.split('"').map(|part| part.replace('\u{1}', "\"")).collect();
    let words: Vec<_> = parts.iter().step_by(2).map(|part| part.trim()).collect();
    let arguments: Vec<_> = parts.iter().skip(1).step_by(2).cloned().collect();
    let step = match (&words[..], &arguments[..]) {
        (["an evaluator" | "the flag was evaluated with details"], []) => Step::Nothing,
        ([kind, "and a fallback value", ""], [key, fallback]) => Step::Flag {
            kind: kind.split(['-', ' ']).nth(1).unwrap().to_owned(),
            key: key.clone(),
            fallback: fallback.clone(),
        },
        (["a context containing a targeting key with value", ""], [key]) => {
            Step::TargetingKey(key.clone())
        }
        (
            ["a context containing a key", ", with type", "and with value", ""],
            [key, kind, value],
        ) => Step::Attribute { key: key.clone(), kind: kind.clone(), value: value.clone() },
        (
            [
                "a context containing a nested property with outer key",
                "and inner key",
                ", with value",
                "",
            ],
            [outer, inner, value],
        ) => Step::Nested { outer: outer.clone(), inner: inner.clone(), value: value.clone() },
        (["the resolved details value should be", ""], [value]) => Step::ValueIs(value.clone()),
        (["the reason should be", ""], [reason]) => Step::ReasonIs(reason.clone()),
        (["the error-code should be", ""], [error]) => Step::ErrorIs(error.clone()),
        (["the resolved metadata is empty"], []) => Step::MetadataIsEmpty,
        (["the resolved metadata should contain"], []) => {
            let row = |row: &Vec<String>| Step::MetadataHas {
                key: row[0].clone(),
                kind: row[1].clone(),
                value: row[2].clone(),
            };
            return line.rows.iter().skip(1).map(row).collect();
        }
        _ => panic!("unknown step: {text}"),
    };
    vec![step]
}
