//! Enough of a Rust lexer to count braces and find words: what stands in comments and literals is
//! blanked out, lines stay where they are.

/// `source` with every character of comments, strings and character literals replaced by a space.
pub(crate) fn blank(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + skipped(&chars[at..], at.checked_sub(1).map(|i| chars[i]));
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            let hidden = chars[at..end].iter();
            out.extend(hidden.map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// How many characters at the start of `rest` are a comment or a literal; 0 for code.
fn skipped(rest: &[char], before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest {
        ['/', '/', ..] => find(rest, &['\n']).unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['b' | 'c', '"', ..] if !in_word => 1 + quoted(&rest[1..], '"'),
        ['r', '"' | '#', ..] if !in_word => raw_string(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => raw_string(rest, 2),
        ['\'', '\\', ..] => quoted(rest, '\''),
        ['\'', _, '\'', ..] => 3, // else a lifetime
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A raw string whose hashes start at `prefix`; 0 if it is a raw identifier.
fn raw_string(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', hashes));
    let body = &rest[open + 1..];
    find(body, &close).map_or(rest.len(), |at| open + 1 + at + close.len())
}

fn find(text: &[char], what: &[char]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// 1 for the first line of the file.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace that hold code.
    pub(crate) length: usize,
}

/// The functions of a blanked source.
pub(crate) fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = blanked[from..].find("fn ").map(|at| from + at) {
        from = at + 3;
        let starts_word = blanked[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = blanked[from..].trim_start();
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        let name: String = rest.chars().take_while(is_word).collect();
        if starts_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(&blanked[from..]) {
            let code = &blanked[at..from + end];
            found.push(Function {
                name,
                line: blanked[..at].matches('\n').count() + 1,
                length: code.lines().filter(|line| !line.trim().is_empty()).count(),
            });
        }
    }
    found
}

/// Where the body that belongs to this signature ends; none for a declaration.
fn body_end(signature: &str) -> Option<usize> {
    let mut nested = 0_i32; // parentheses and brackets of the signature
    let mut depth = 0_i32; // braces of the body
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            ';' if depth == 0 && nested == 0 => return None,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && c == '}' {
            return Some(at + 1);
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

/// The part of a blanked source before its own test module.
pub(crate) fn without_tests(blanked: &str) -> &str {
    let mut lines = blanked.split_inclusive('\n').peekable();
    let mut end = 0;
    while let Some(line) = lines.next() {
        let is_gate = line.starts_with("#[cfg(") && line.contains("test");
        let opens = |next: &&str| next.trim_start().starts_with("mod ") && next.contains('{');
        if is_gate && lines.peek().is_some_and(opens) {
            break;
        }
        end += line.len();
    }
    &blanked[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals_and_keeps_lines() {
        let source = r##"
let a = "{ \" {"; // {
let b = r#"{ " {"#; /* { /* { */
{ */ let c = '{'; let d = '\''; fn e<'a>(x: &'a u8) {}
let r#type = b"{"; let number = br"{";
"##;
        let blanked = blank(source);
        assert_eq!(blanked.lines().count(), source.lines().count());
        assert_eq!(blanked.matches('{').count(), 1, "{blanked}");
        assert!(blanked.contains("fn e<'a>(x: &'a u8) {}"));
        assert!(blanked.contains("let r#type ="));
    }

    #[test]
    fn measures_functions() {
        let source = "
fn one() {}
trait T { fn declared(&self, x: [u8; 2]); }
type P = fn (u8);
impl T {
    pub async fn two(x: [u8; 2]) -> u8 {
        // a comment costs nothing

        if x { 1 } else { 2 }
    }
}
";
        let found = functions(&blank(source));
        let of = |name: &str, line, length| Function { name: name.to_owned(), line, length };
        assert_eq!(found, [of("one", 2, 1), of("two", 6, 3)]);
    }

    #[test]
    fn leaves_test_modules_out() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\n";
        assert_eq!(without_tests(source), "fn a() {}\n");
        let elsewhere = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
        assert_eq!(without_tests(elsewhere), elsewhere);
    }
}
