use super::{Answer, Granted, Looked, Terms, clean, deleted, plain, refusal, renewed, versioned};
use crate::secret::Secret;
use crate::secret::provider::ProviderErrorKind::{Gone, Invalid, NotFound, Refused, Unavailable};
use http::StatusCode;
use std::time::Duration;
use zeroize::Zeroizing;

const POLL: Duration = Duration::from_secs(300);
const SECONDS: fn(u64) -> Duration = Duration::from_secs;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
        hide: vec![Secret::new("hunter2".to_owned())],
    }
}

#[test]
fn a_status_is_told_for_what_it_means() {
    for (status, body, kind) in [
        (400, r#"{"errors": ["lease not found"]}"#, Gone),
        (400, r#"{"errors": ["lease is not renewable"]}"#, Refused),
        (400, r#"{"errors": ["lease expired"]}"#, Gone),
        (400, r#"{"errors": ["invalid role or secret ID"]}"#, Refused),
        (400, r#"{"error": "invalid secret id"}"#, Refused),
        (500, r#"{"error": "Lease is not found."}"#, Gone),
        (500, r#"{"error": "Lease is not renewable."}"#, Refused),
        (400, r#"{"errors": ["unknown role: x"]}"#, Invalid),
        (400, "", Invalid),
        (401, "", Refused),
        (403, r#"{"errors": ["permission denied"]}"#, Refused),
        (404, r#"{"errors": []}"#, NotFound),
        (405, "", Invalid),
        (412, "", Unavailable),
        (429, "", Unavailable),
        (472, "", Unavailable),
        (473, "", Unavailable),
        (500, "<html>", Unavailable),
        (503, r#"{"errors": ["Vault is sealed"]}"#, Unavailable),
    ] {
        let error = refusal(&answer(status, body), "kv/data/orders");
        assert_eq!(error.kind(), kind, "{status} {body}");
        assert!(error.message().starts_with("kv/data/orders: "), "{error}");
    }
}

#[test]
fn what_a_server_says_is_repeated_in_part_and_without_secrets() {
    let said = |body: &str| refusal(&answer(400, body), "it").message().to_owned();
    let text = said(r#"{"errors": ["a\n\n\tb", "with hunter2"], "warnings": ["c"]}"#);
    assert_eq!(text, "it: 400 Bad Request: a b; with [redacted]; c");
    assert_eq!(said("no JSON with hunter2"), "it: 400 Bad Request");
    let long = clean(&"ü".repeat(400), &[]);
    assert!(long.len() <= 305 && long.ends_with('…'), "{}", long.len());
    assert_eq!(clean("a\u{1b}[31mb\u{7f}", &[]), "a [31mb");
}

#[test]
fn a_path_that_is_not_there_is_told_from_one_that_is_refused() {
    let no = |status, body| answer(status, body).is_unsupported();
    assert!(no(404, "") && no(405, ""));
    assert!(no(500, r#"{"error": "Logical backend path not supported."}"#));
    assert!(no(400, r#"{"errors": ["unsupported path"]}"#));
    assert!(!no(403, r#"{"errors": ["permission denied"]}"#));
    assert!(!no(503, r#"{"errors": ["Vault is sealed"]}"#) && !no(200, "{}"));
    let warning = r#"{"errors": [], "warnings": ["Invalid path for a versioned K/V engine"]}"#;
    assert!(answer(404, warning).wants_data_path());
    assert!(!answer(404, r#"{"errors": []}"#).wants_data_path());
    let token = r#"{"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n"]}"#;
    assert!(answer(403, token).names_the_token());
    assert!(!answer(403, r#"{"errors": ["permission denied"]}"#).names_the_token());
}

#[test]
fn a_lease_needs_an_id_and_a_time() {
    let read = |body: &str| plain(&answer(200, body), "it", POLL).unwrap();
    let full =
        r#"{"lease_id": "a/1", "lease_duration": 60, "renewable": true, "data": {"u": "x"}}"#;
    let lease = read(full).lease.unwrap();
    assert_eq!((lease.ttl, lease.renewable), (SECONDS(60), true));
    assert_eq!(lease.id.unwrap().expose(), "a/1");
    for (body, look_again) in [
        (r#"{"data": {"u": "x"}}"#, 300_000),
        (r#"{"lease_id": null, "lease_duration": 20, "renewable": null, "data": {}}"#, 20_000),
        (r#"{"lease_id": "", "lease_duration": 2764800, "data": {}}"#, 300_000),
        (r#"{"lease_id": "a/1", "lease_duration": 0, "data": {}}"#, 300_000),
        (r#"{"data": {"last_vault_rotation": "t", "ttl": 59.5}}"#, 60_500),
        (r#"{"data": {"last_vault_rotation": "t", "ttl": -3}}"#, 1_000),
        (r#"{"data": {"last_vault_rotation": "t", "ttl": 9000}}"#, 300_000),
        (r#"{"data": {"last_vault_rotation": "t", "ttl": "soon"}}"#, 300_000),
    ] {
        let fetched = read(body);
        assert_eq!(fetched.lease, None, "{body}");
        assert_eq!(fetched.look_again.unwrap().as_millis(), look_again, "{body}");
    }
    for body in ["{}", r#"{"data": null}"#, r#"{"data": ["hunter2"]}"#, "hunter2", ""] {
        let error = plain(&answer(200, body), "it", POLL).unwrap_err();
        assert_eq!(error.kind(), Invalid);
        assert!(!error.message().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_version_that_is_gone_is_told_of() {
    let gone = |metadata: &str| {
        deleted(&answer(404, &format!(r#"{{"data": {{"data": null, "metadata": {metadata}}}}}"#)))
    };
    let at = r#"{"version": 3, "deletion_time": "2026-01-02T00:00:00Z", "destroyed": false}"#;
    assert_eq!(gone(at).unwrap(), "version 3 was deleted at 2026-01-02T00:00:00Z");
    assert_eq!(gone(r#"{"version": 3, "destroyed": true}"#).unwrap(), "version 3 was destroyed");
    assert_eq!(gone("null"), None);
    assert_eq!(deleted(&answer(404, r#"{"errors": []}"#)), None);
    // A deletion that is planned is none yet.
    let planned = r#"{"data": {"data": {"u": "x"}, "metadata":
        {"version": 4, "deletion_time": "2099-01-01T00:00:00Z", "destroyed": false}}}"#;
    let read = versioned(&answer(200, planned), "it", false, POLL).unwrap();
    assert_eq!(read.version.as_deref(), Some("4"));
    let old = r#"{"data": {"data": {"u": "x"}}}"#;
    assert_eq!(versioned(&answer(200, old), "it", true, POLL).unwrap().version, None);
}

#[test]
fn only_what_is_needed_of_a_token_is_asked_for() {
    let short = r#"{"auth": {"client_token": "t", "lease_duration": 3, "renewable": true}}"#;
    let auth = answer(200, short).parse::<Granted>().unwrap().auth.unwrap();
    assert_eq!(auth.terms(), Terms { ttl: Some(SECONDS(3)), whole: None, renewable: true });
    assert!(auth.client_token.unwrap().matches("t"));
    let root = r#"{"data": {"ttl": 0, "id": "t", "expire_time": null}}"#;
    let data = answer(200, root).parse::<Looked>().unwrap().data.unwrap();
    assert_eq!(data.terms(), Terms { ttl: None, whole: None, renewable: false });
    let given = r#"{"data": {"ttl": 9, "creation_ttl": 60, "period": 0, "renewable": true}}"#;
    let data = answer(200, given).parse::<Looked>().unwrap().data.unwrap();
    let whole = Some(SECONDS(60));
    assert_eq!(data.terms(), Terms { ttl: Some(SECONDS(9)), whole, renewable: true });
    let renewal = r#"{"lease_id": "a/1", "lease_duration": 7}"#;
    let to = renewed(&answer(200, renewal), "it").unwrap();
    assert_eq!((to.ttl, to.renewable), (SECONDS(7), false));
    assert_eq!(renewed(&answer(200, "{}"), "it").unwrap_err().kind(), Invalid);
}
