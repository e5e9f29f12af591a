//! Whether an instance is well, as containers and operators ask it.
use crate::http::{ask, get};
use crate::process::{Orders, Process};
use rustix::process::Signal;

#[test]
fn a_container_without_a_client_asks_the_service_itself() {
    let orders = Orders::start(&[]);
    let (host, port) = (orders.public.ip().to_string(), orders.public.port().to_string());
    let at = [("HOST", host.as_str()), ("PORT", port.as_str())];
    // A secret that is not there is of no interest to a probe.
    let more = [("ADMIN_TOKEN", "vault://kv/orders#token")];
    let well = Process::spawn(&["health"], &[at.as_slice(), &more].concat()).end();
    assert_eq!((well.code, well.text.as_str(), well.errors.as_str()), (Some(0), "ok", ""));

    let url = format!("http://{}/readyz/nobody", orders.admin);
    let asked = Process::spawn(&["health", "--url", &url], &[]).end();
    assert_eq!(asked.code, Some(1));
    assert!(asked.errors.starts_with(&format!("orders: {url}: 404\n")), "{}", asked.errors);

    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
    let gone = Process::spawn(&["health"], &at).end();
    assert_eq!((gone.code, gone.text.as_str()), (Some(1), ""));
    assert!(gone.errors.contains("refused"), "{}", gone.errors);
    let unknown = Process::spawn(&["health"], &[]).end();
    assert!(unknown.errors.contains("server.port is 0"), "{}", unknown.errors);
}

#[test]
fn probes_say_what_they_looked_at() {
    let orders = Orders::start(&[]);
    let text = orders.process.eventually("the first looks", || {
        let text = get(orders.admin, "/readyz?verbose&exclude=inventory").text();
        (!text.contains("no result yet")).then_some(text)
    });
    for line in ["[+]lifecycle ok", "[+]config ok", "[+]inventory excluded: ok"] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert_eq!(get(orders.admin, "/livez?verbose").text(), "[+]runtime ok\nlivez check passed\n");
    assert_eq!(get(orders.public, "/readyz?verbose").text(), "ok", "for everybody");
    let json = [("accept", "application/health+json")];
    let answer = ask(orders.admin, "GET", "/readyz/inventory", &json, "");
    assert_eq!(answer.header("content-type"), Some("application/health+json"));
    assert_eq!(answer.json()["checks"]["inventory"][0]["status"], "pass");
}

#[test]
fn it_asks_itself_as_a_customer_does() {
    let orders = Orders::start(&[("ORDERS_SYNTHETIC", "true")]);
    let line = orders.process.wait_for("a synthetic request", |lines| {
        let is_it = |line: &&serde_json::Value| line["context"]["route"] == "synthetic";
        lines.iter().find(is_it).cloned()
    });
    assert_eq!(line["context"]["status"], 200, "{line}");
    let id = line["correlation_id"].as_str().expect("an id");
    assert!(id.starts_with("synthetic.order-lookup."), "{id}");
    let one = orders.process.eventually("its result", || {
        let answer = get(orders.admin, "/readyz/order-lookup?verbose").text();
        (!answer.contains("no result yet")).then_some(answer)
    });
    assert_eq!(one, "[+]order-lookup ok\nreadyz check passed\n");
    let count = "http_server_request_duration_seconds_count";
    assert_eq!(orders.metric(count, &[("http_route", "/orders/{id}")]), None, "no traffic");
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}
