//! The rules of the contract as a table: one line a case.
use super::*;
use http::Request;

const LOOPBACK: Setting = Setting { loopback: true, development: true };
const PRODUCTION: Setting = Setting { loopback: true, development: false };
const EXPOSED: Setting = Setting { loopback: false, development: true };

fn tokens(write: Option<&str>, read: Option<&str>) -> Tokens {
    let secret = |text: &str| Secret::new(text.to_owned());
    Tokens::new(write.map(secret), read.map(secret))
}

fn none() -> Tokens {
    tokens(None, None)
}

fn both() -> Tokens {
    tokens(Some("w"), Some("r"))
}

/// `"PUT host=localhost auth=w type=json"`: the method, then headers; `body` for a body.
fn ask(line: &str, access: Access, setting: Setting, tokens: &Tokens) -> Result<&'static str, u16> {
    let mut words = line.split(' ');
    let mut request = Request::builder().method(words.next().unwrap());
    let mut has_body = false;
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        request = match key {
            "host" => request.header(header::HOST, value),
            "uri" => request.uri(value),
            "auth" => request.header(header::AUTHORIZATION, format!("Bearer {value}")),
            "basic" => request.header(header::AUTHORIZATION, format!("Basic {value}")),
            "type" => request.header(header::CONTENT_TYPE, value),
            "origin" => request.header(header::ORIGIN, value),
            "site" => request.header(&SEC_FETCH_SITE, value),
            "body" => {
                has_body = true;
                request
            }
            other => panic!("no such word: {other}"),
        };
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    decide(&Facts::of(&parts, has_body), access, setting, tokens)
        .map(|token| token.map_or("nobody", Token::as_str))
        .map_err(|refusal| refusal.status.as_u16())
}

fn check(setting: Setting, tokens: &Tokens, cases: &[(&str, Access, Result<&str, u16>)]) {
    for (line, access, expected) in cases {
        let got = ask(line, *access, setting, tokens);
        assert_eq!(got, *expected, "{line} for {access:?} with {setting:?} and {tokens:?}");
    }
}

use Access::{Anyone, Collectors, Operators};

#[test]
fn reading_on_loopback_asks_for_a_loopback_name() {
    let cases = [
        ("GET", Anyone, Ok("nobody")),
        ("HEAD host=evil.example", Anyone, Ok("nobody")),
        ("GET host=localhost", Operators, Ok("nobody")),
        ("HEAD host=LocalHost:8081", Operators, Ok("nobody")),
        ("GET host=127.0.0.1:8081", Operators, Ok("nobody")),
        ("GET host=127.9.9.9", Operators, Ok("nobody")),
        ("GET host=[::1]:8081", Operators, Ok("nobody")),
        ("GET uri=http://localhost:8081/statusz", Operators, Ok("nobody")),
        ("GET host=127.0.0.1", Collectors, Ok("nobody")),
        ("GET", Operators, Err(403)),
        ("GET host=", Operators, Err(403)),
        ("GET host=evil.example:8081", Operators, Err(403)),
        ("GET host=evil.example", Collectors, Err(403)),
        ("GET host=localhost.evil.example", Operators, Err(403)),
        ("GET host=127.0.0.1.evil.example", Operators, Err(403)),
        ("GET host=localhost@evil.example", Operators, Err(403)),
        ("GET host=evil@localhost", Operators, Err(403)),
        ("GET host=0.0.0.0", Operators, Err(403)),
        ("GET host=10.0.0.1", Operators, Err(403)),
        ("GET host=[::2]", Operators, Err(403)),
        ("GET host=localhost host=evil.example", Operators, Err(403)),
        ("GET host=localhost uri=http://evil.example/", Operators, Err(403)),
        ("GET host=evil.example uri=http://localhost/", Operators, Err(403)),
    ];
    check(LOOPBACK, &none(), &cases);
    check(PRODUCTION, &none(), &cases);
    check(LOOPBACK, &both(), &cases); // a token is for changes there
    check(
        LOOPBACK,
        &both(),
        &[
            ("GET host=localhost auth=r", Operators, Ok("read")),
            ("GET host=localhost auth=w", Operators, Ok("write")),
            ("GET host=evil.example auth=w", Operators, Err(403)),
        ],
    );
}

#[test]
fn reading_elsewhere_asks_for_a_token() {
    check(
        EXPOSED,
        &both(),
        &[
            ("GET", Anyone, Ok("nobody")),
            ("GET", Collectors, Ok("nobody")),
            ("GET host=any.example auth=r", Operators, Ok("read")),
            ("HEAD auth=w", Operators, Ok("write")),
            ("GET", Operators, Err(401)),
            ("GET host=localhost", Operators, Err(401)),
            ("GET auth=", Operators, Err(401)),
            ("GET auth=x", Operators, Err(401)),
            ("GET auth=wr", Operators, Err(401)),
            ("GET auth=w auth=r", Operators, Err(401)),
            ("GET basic=w", Operators, Err(401)),
        ],
    );
    check(
        EXPOSED,
        &none(),
        &[
            ("GET", Anyone, Ok("nobody")),
            ("GET", Collectors, Ok("nobody")),
            ("GET host=localhost", Operators, Err(403)),
            ("GET auth=", Operators, Err(403)),
        ],
    );
    let read = tokens(None, Some("r"));
    check(EXPOSED, &read, &[("GET auth=r", Operators, Ok("read"))]);
}

#[test]
fn an_empty_token_opens_nothing() {
    let empty = tokens(Some(""), Some(""));
    check(
        EXPOSED,
        &empty,
        &[
            ("GET auth=", Operators, Err(401)),
            ("GET", Operators, Err(401)),
            ("DELETE auth=", Operators, Err(401)),
        ],
    );
    check(LOOPBACK, &empty, &[("DELETE host=localhost", Operators, Err(401))]);
}

#[test]
fn changes_need_the_write_token_where_there_is_one() {
    for setting in [LOOPBACK, PRODUCTION, EXPOSED] {
        check(
            setting,
            &both(),
            &[
                ("DELETE host=localhost auth=w", Operators, Ok("write")),
                ("PUT host=localhost auth=w type=application/json body", Operators, Ok("write")),
                ("DELETE host=localhost", Operators, Err(401)),
                ("DELETE host=localhost auth=x", Operators, Err(401)),
                ("DELETE host=localhost auth=r", Operators, Err(403)),
                ("POST host=localhost auth=r", Anyone, Err(403)),
                ("POST host=localhost", Collectors, Err(401)),
                ("OPTIONS host=localhost", Operators, Err(401)),
            ],
        );
    }
    let evil = ("DELETE host=evil.example auth=w", Operators, Err(403));
    check(LOOPBACK, &both(), &[evil]);
}

#[test]
fn changes_without_any_token_are_for_development_on_loopback() {
    let delete = "DELETE host=localhost";
    check(LOOPBACK, &none(), &[(delete, Operators, Ok("nobody"))]);
    check(PRODUCTION, &none(), &[(delete, Operators, Err(403))]);
    check(EXPOSED, &none(), &[(delete, Operators, Err(403))]);
    // A read token means that somebody thought about it: nobody holds the write token then.
    let read = tokens(None, Some("r"));
    for setting in [LOOPBACK, PRODUCTION, EXPOSED] {
        check(setting, &read, &[(delete, Operators, Err(403))]);
        check(setting, &read, &[("DELETE host=localhost auth=r", Operators, Err(403))]);
    }
}

#[test]
fn changes_are_not_taken_from_web_pages_of_others() {
    let put = "PUT host=localhost:8081 auth=w type=application/json body";
    for (words, expected) in [
        ("origin=http://localhost:8081", Ok("write")),
        ("site=same-origin", Ok("write")),
        ("site=none", Ok("write")),
        ("origin=http://localhost:3000", Err(403)),
        ("origin=http://127.0.0.1:8081", Err(403)),
        ("origin=https://evil.example", Err(403)),
        ("origin=null", Err(403)),
        ("origin=", Err(403)),
        ("origin=http://localhost:8081 origin=http://evil.example", Err(403)),
        ("site=cross-site", Err(403)),
        ("site=same-site", Err(403)),
        ("site=same-origin site=cross-site", Err(403)),
        ("site=whatever", Err(403)),
        ("origin=http://localhost:8081 site=cross-site", Err(403)),
    ] {
        let line = format!("{put} {words}");
        for setting in [LOOPBACK, EXPOSED] {
            assert_eq!(ask(&line, Operators, setting, &both()), expected, "{line}");
        }
    }
}

#[test]
fn bodies_of_changes_must_be_json() {
    let put = "PUT host=localhost auth=w";
    for (words, expected) in [
        ("type=application/json body", Ok("write")),
        ("type=Application/JSON;charset=utf-8 body", Ok("write")),
        ("", Ok("write")),
        ("body", Err(415)),
        ("type=text/plain body", Err(415)),
        ("type=application/x-www-form-urlencoded body", Err(415)),
        ("type=application/jsonp body", Err(415)),
        ("type=application/json type=text/plain body", Err(415)),
    ] {
        let line = format!("{put} {words}");
        assert_eq!(ask(line.trim(), Operators, LOOPBACK, &both()), expected, "{line}");
    }
}
