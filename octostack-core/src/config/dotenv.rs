//! `.env`: variables of a developer's machine, in a file.
//!
//! They count as environment variables below those of the process, which is never written to: that
//! is unsound once there are threads, and what it starts would inherit them.

use super::disk::Disk;
use super::env::Variable;
use super::error::{Error, ErrorKind, Origin};
use super::parse::SyntaxError;
use super::source::syntax;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The variables that the file at `path` sets.
pub(super) fn read(path: &Path, disk: &Disk, errors: &mut Vec<Error>) -> Vec<(String, Variable)> {
    let path: Arc<Path> = path.into();
    let text = match disk.read_text(&path) {
        Ok(text) => text,
        Err(message) => {
            let message = format!("{}: {message}", path.display());
            errors.push(Error::new(ErrorKind::Unreadable, &[], message));
            return Vec::new();
        }
    };
    match parse(&text) {
        Ok(assignments) => {
            let variable = |Assignment { name, value, line }| {
                let line = u32::try_from(line).unwrap_or(u32::MAX); // 1 MiB has fewer
                (name, Variable { value, place: Some((path.clone(), line)) })
            };
            assignments.into_iter().map(variable).collect()
        }
        Err(wrong) => {
            errors.extend(syntax(wrong, &path));
            Vec::new()
        }
    }
}

/// A file that counts in one environment cannot choose another.
pub(super) fn no_environment(name: &str, variable: &Variable) -> Error {
    let message = format!(
        "{name} cannot be set here, as this file counts in development only; set it in the \
         environment of the process"
    );
    let place = variable.place.as_ref().map(|(path, line)| Origin::at(path, *line as usize, 1));
    Error::new(ErrorKind::Invalid, &[], message).with_origin(place)
}

/// One line of the file.
#[cfg_attr(test, derive(Debug))]
struct Assignment {
    name: String,
    value: String,
    line: usize,
}

/// Reads `text`: `NAME=value`, with `export` before it or not.
///
/// | value | is |
/// |---|---|
/// | `a b # c` | the text up to a `#` after a space, without spaces at its ends |
/// | `'a # b'` | what stands between the quotes, also over several lines |
/// | `"a\n\"b\""` | the same, with `\n`, `\r`, `\t`, `\"`, `\\` and `\$` |
///
/// Nothing is expanded. Where a shell would, it is an error: neither meaning is the obvious one.
fn parse(text: &str) -> Result<Vec<Assignment>, Vec<SyntaxError>> {
    let mut reader = Reader { rest: text, line: 1, column: 1 };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let mut lines = BTreeMap::new();
    while reader.skip_to_assignment() {
        let (line, column) = (reader.line, reader.column);
        match reader.assignment() {
            Ok((name, value)) => match lines.insert(name.clone(), line) {
                None => found.push(Assignment { name, value, line }),
                Some(first) => {
                    let message = format!("{name} is set in line {first} already; keep one");
                    errors.push(SyntaxError::new(line, column, message));
                }
            },
            Err(error) => {
                errors.push(error);
                reader.skip_line();
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            taken.push(c);
            self.next();
        }
        taken
    }

    fn skip_spaces(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t' | '\r'));
    }

    fn skip_line(&mut self) {
        self.take_while(|c| c != '\n');
    }

    fn wrong<T>(&self, message: &str) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.line, self.column, message))
    }

    /// Past empty lines and comments; false at the end.
    fn skip_to_assignment(&mut self) -> bool {
        loop {
            self.take_while(char::is_whitespace);
            match self.peek() {
                None => return false,
                Some('#') => self.skip_line(),
                Some(_) => return true,
            }
        }
    }

    fn assignment(&mut self) -> Result<(String, String), SyntaxError> {
        let mut name = self.name()?;
        self.skip_spaces();
        if name == "export" && self.peek() != Some('=') {
            name = self.name()?;
            self.skip_spaces();
        }
        if self.peek() != Some('=') {
            return self.wrong("expected `=` after the name of the variable");
        }
        self.next();
        self.skip_spaces();
        let value = match self.peek() {
            Some('\'') => self.quoted(false)?,
            Some('"') => self.quoted(true)?,
            _ => return Ok((name, self.plain()?)),
        };
        self.skip_spaces();
        match self.peek() {
            None | Some('\n') => Ok((name, value)),
            Some('#') => {
                self.skip_line();
                Ok((name, value))
            }
            Some(_) => self.wrong("nothing may follow the closing quote but a comment"),
        }
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        if self.peek().is_none_or(|c| c != '_' && !c.is_ascii_alphabetic()) {
            return self.wrong("expected NAME=value; a name has letters, digits and `_`");
        }
        Ok(self.take_while(|c| c == '_' || c.is_ascii_alphanumeric()))
    }

    fn plain(&mut self) -> Result<String, SyntaxError> {
        let mut value = String::new();
        while let Some(c) = self.peek().filter(|c| *c != '\n') {
            if c == '#' && value.ends_with([' ', '\t']) {
                self.skip_line();
                break;
            }
            self.expands(c)?;
            value.push(c);
            self.next();
        }
        Ok(value.trim().to_owned())
    }

    fn quoted(&mut self, double: bool) -> Result<String, SyntaxError> {
        let (line, column) = (self.line, self.column);
        let quote = self.next();
        let mut value = String::new();
        loop {
            let Some(c) = self.peek() else {
                let message = "this quote is not closed";
                return Err(SyntaxError::new(line, column, message));
            };
            if Some(c) == quote {
                self.next();
                return Ok(value);
            }
            if double && c == '\\' {
                self.next();
                value.push(self.escaped()?);
                continue;
            }
            if double {
                self.expands(c)?;
            }
            value.push(c);
            self.next();
        }
    }

    fn escaped(&mut self) -> Result<char, SyntaxError> {
        let c = match self.peek() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('"' | '\\' | '$')) => c,
            _ => return self.wrong(r#"after `\` comes one of `n`, `r`, `t`, `"`, `\` and `$`"#),
        };
        self.next();
        Ok(c)
    }

    fn expands(&self, c: char) -> Result<(), SyntaxError> {
        let mut after = self.rest.chars().skip(1);
        let begins = |c: char| c == '{' || c == '(' || c == '_' || c.is_ascii_alphabetic();
        if c == '$' && after.next().is_some_and(begins) {
            return self.wrong("nothing is expanded here; for a `$` write the value in '…'");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn values(text: &str) -> Vec<(String, String, usize)> {
        parse(text).unwrap().into_iter().map(|a| (a.name, a.value, a.line)).collect()
    }

    #[test]
    fn reads_what_people_write() {
        let text = "# a comment\n\nA=1\n export B = two words # and a comment\r\nC='a # $b'\n\
                    D=\"x\\n\\\"y\\\" \\$z\" # c\nE=\nF=a#b\n_G1='two\nlines'\nexport=1\nH=pa$$1";
        let expected = [
            ("A", "1", 3),
            ("B", "two words", 4),
            ("C", "a # $b", 5),
            ("D", "x\n\"y\" $z", 6),
            ("E", "", 7),
            ("F", "a#b", 8),
            ("_G1", "two\nlines", 9),
            ("export", "1", 11),
            ("H", "pa$$1", 12),
        ];
        let expected = expected.map(|(n, v, line)| (n.to_owned(), v.to_owned(), line));
        assert_eq!(values(text), expected);
    }

    #[test]
    fn says_all_that_is_wrong_without_the_values() {
        let text = "A\nB=$HOME/s3cr3t\n1=x\nC=\"s3cr3t\\x\"\nD='a' s3cr3t\nE=1\nE=s3cr3t\n\
                    F=\"${s3cr3t}\"\nG='s3cr3t";
        let errors = parse(text).unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
        assert_eq!(places, [(1, 2), (2, 3), (3, 1), (4, 11), (5, 7), (7, 1), (8, 4), (9, 3)]);
        assert!(errors.iter().all(|error| !error.message.contains("s3cr3t")), "{errors:?}");
    }
}
