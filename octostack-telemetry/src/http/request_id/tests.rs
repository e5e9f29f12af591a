use super::{RequestId, RequestIdLayer, X_REQUEST_ID};
use http::{HeaderValue, Request, Response};
use proptest::prelude::*;
use std::collections::HashSet;
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};

/// The id that the service saw, and the one on the response.
async fn send(ids: &[&[u8]]) -> (String, String) {
    let service = RequestIdLayer::new().layer(service_fn(|request: Request<()>| async move {
        let seen = request.extensions().get::<RequestId>().unwrap().to_string();
        // A service that makes up its own does not get through.
        let response = Response::builder().header(X_REQUEST_ID, "mine");
        Ok::<_, Infallible>(response.body(seen).unwrap())
    }));
    let mut request = Request::new(());
    for id in ids {
        let value = HeaderValue::from_bytes(id).unwrap();
        request.headers_mut().append(X_REQUEST_ID, value);
    }
    let response = service.oneshot(request).await.unwrap();
    let sent: Vec<_> = response.headers().get_all(X_REQUEST_ID).iter().collect();
    assert_eq!(sent.len(), 1);
    let sent = sent[0].to_str().unwrap().to_owned();
    (response.into_body(), sent)
}

#[tokio::test]
async fn a_harmless_id_is_kept() {
    let longest = "x".repeat(128);
    for id in ["a", "Ab-9_c.d", "0af7651916cd43dd8448eb211c80319c", &longest] {
        assert_eq!(send(&[id.as_bytes()]).await, (id.to_owned(), id.to_owned()));
    }
}

#[tokio::test]
async fn any_other_is_replaced() {
    let too_long = "x".repeat(129);
    let hostile: [&[u8]; 8] = [
        b"",
        b" ",
        b"a b",
        b"\"},{\"level\":\"fatal",
        b"${jndi:ldap://x}",
        b"\x1b[31m".strip_prefix(b"\x1b").unwrap(),
        "ä".as_bytes(),
        too_long.as_bytes(),
    ];
    for id in hostile {
        let (seen, sent) = send(&[id]).await;
        assert_eq!(seen, sent);
        assert_eq!(sent.len(), 36, "{id:?} gave {sent}");
    }
    assert_eq!(send(&[]).await.1.len(), 36);
}

#[tokio::test]
async fn of_several_the_first_counts() {
    assert_eq!(send(&[b"first", b"second"]).await.1, "first");
    assert_eq!(send(&[b"not this", b"second"]).await.1.len(), 36);
}

#[test]
fn a_new_id_is_a_uuid_of_version_7() {
    let id = RequestId::from_parts(0x0123_4567_89ab, u128::MAX);
    assert_eq!(id.as_str(), "01234567-89ab-7fff-bfff-ffffffffffff");
    let id = RequestId::from_parts(0x0123_4567_89ab, 0);
    assert_eq!(id.as_str(), "01234567-89ab-7000-8000-000000000000");
}

#[test]
fn new_ids_differ_and_would_be_kept() {
    let ids: HashSet<_> = (0..10_000).map(|_| RequestId::random().to_string()).collect();
    assert_eq!(ids.len(), 10_000);
    assert!(ids.iter().all(|id| RequestId::parse(id).is_some()));
}

proptest! {
    #[test]
    fn what_is_kept_is_what_the_contract_says(text in "\\PC{0,140}|[A-Za-z0-9._-]{0,140}") {
        let harmless = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let id = RequestId::parse(&text);
        prop_assert_eq!(id.is_some(), harmless);
        if let Some(id) = id {
            prop_assert_eq!(id.as_str(), text);
        }
    }
}
