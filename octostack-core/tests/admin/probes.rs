use super::*;
use octostack_core::health::CheckKind;
use std::time::Duration;

/// Checks of each kind, of which the names in `failing` fail, after their first results.
async fn setup(failing: &'static [&'static str]) -> Setup {
    let setup = Setup::new();
    for (name, kind) in [
        ("disk", CheckKind::Local),
        ("inventory", CheckKind::Shared),
        ("mirror of b", CheckKind::Informational),
    ] {
        let look = move || {
            let fails = failing.contains(&name);
            if fails { Err(format!("{name} of host-7 is wrong")) } else { Ok(()) }
        };
        setup.health.passive(name, kind, look);
    }
    let health = setup.health.clone();
    tokio::spawn(async move { health.run().await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    setup.lifecycle.ready();
    setup
}

#[tokio::test(start_paused = true)]
async fn all_is_well_and_told_at_length_if_asked() {
    let setup = setup(&[]).await;
    let admin = setup.admin();
    assert_eq!(get(&admin, "/readyz?exclude=disk").await.text, "ok");
    let answer = get(&admin, "/readyz?verbose&exclude=disk&exclude=disc").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        answer.text,
        "warn: there is no check `disc` to exclude\n[+]lifecycle ok\n[+]disk excluded: ok\n\
         [+]inventory ok\n[+]mirror of b ok\nreadyz check passed\n"
    );
    assert_eq!(get(&admin, "/livez?verbose").await.text, "[+]runtime ok\nlivez check passed\n");
    let startup = get(&admin, "/startupz?verbose&exclude=disk").await.text;
    assert_eq!(startup, "[+]lifecycle ok\nstartupz check passed\n");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_and_counts_by_its_kind() {
    let setup = setup(&["inventory", "mirror of b"]).await;
    let admin = setup.admin();
    assert_eq!(get(&admin, "/readyz").await.text, "ok", "a warning");
    let text = get(&admin, "/readyz?verbose").await.text;
    assert!(text.contains(
        "[!]inventory failed, which is a warning: inventory of host-7 is wrong\n\
         [!]mirror of b failed, which is a warning: mirror of b of host-7 is wrong\n\
         readyz check passed\n"
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_here_is_told_unasked_and_can_be_left_out() {
    let setup = setup(&["disk"]).await;
    let admin = setup.admin();
    let answer = get(&admin, "/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("[-]disk failed: disk of host-7 is wrong\n"), "unasked");
    assert!(answer.text.ends_with("readyz check failed\n"));
    let answer = get(&admin, "/readyz?exclude=disk").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "ok"));
    assert_eq!(get(&admin, "/livez").await.status, 200, "a restart does not help");
}

#[tokio::test(start_paused = true)]
async fn a_group_fails_with_any_of_its_members() {
    let setup = setup(&["inventory", "mirror of b"]).await;
    setup.health.group("own", ["disk"]);
    setup.health.group("buying", ["disk", "inventory", "prices"]);
    setup.health.group("all of it", ["disk", "mirror of b"]);
    let admin = setup.admin();
    let own = get(&admin, "/readyz?group=own").await;
    assert_eq!((own.status, own.text.as_str()), (200, "ok"));
    let buying = get(&admin, "/readyz?group=buying").await;
    assert_eq!(buying.status, 503, "it is shared, but was asked for");
    assert_eq!(
        buying.text,
        "warn: there is no check `prices`, which is in the group `buying`\n[+]lifecycle ok\n\
         [+]disk ok\n[-]inventory failed: inventory of host-7 is wrong\nreadyz check failed\n"
    );
    assert_eq!(get(&admin, "/readyz?group=buying&exclude=inventory").await.status, 200);
    assert_eq!(get(&admin, "/readyz?group=all%20of+it").await.status, 503, "also informational");
    assert_eq!(get(&admin, "/readyz").await.status, 200, "the whole is as it was");
    let json = ask_json(&admin, "/readyz?group=buying").await;
    assert_eq!((json.status, &json.json()["status"]), (503, &"fail".into()));
    for nowhere in ["/readyz?group=nobody", "/readyz?group=", "/livez?group=own"] {
        assert_eq!(get(&admin, nowhere).await.status, 404, "{nowhere}");
    }
    setup.health.group("buying", ["disk"]);
    assert_eq!(get(&admin, "/readyz?group=buying").await.status, 200, "replaced");
}

#[tokio::test(start_paused = true)]
async fn one_check_has_a_path_of_its_own() {
    let setup = setup(&["disk", "mirror of b"]).await;
    let admin = setup.admin();
    let answer = get(&admin, "/readyz/disk").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text, "[-]disk failed: disk of host-7 is wrong\nreadyz check failed\n");
    assert_eq!(get(&admin, "/readyz/inventory").await.text, "ok");
    let informs = get(&admin, "/readyz/mirror%20of%20b?verbose").await;
    assert_eq!(informs.status, 200);
    assert!(informs.text.starts_with("[!]mirror of b failed"), "{}", informs.text);
    assert_eq!(get(&admin, "/readyz/lifecycle").await.text, "ok");
    let answer = get(&admin, "/readyz/nobody").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("no such check"));
}

#[tokio::test(start_paused = true)]
async fn strangers_are_told_what_fails_and_not_why() {
    let setup = setup(&["disk"]).await;
    let admin = setup.exposed();
    for path in ["/readyz", "/readyz?verbose", "/readyz/disk"] {
        let answer = get(&admin, path).await;
        assert_eq!(answer.status, 503);
        assert!(answer.text.contains("[-]disk failed: reason withheld\n"), "{}", answer.text);
        let answer =
            ask(&admin, &format!("GET {path}"), &[("authorization", "Bearer r")], "").await;
        assert!(answer.text.contains("[-]disk failed: disk of host-7 is wrong\n"));
    }
    let json = ask_json(&admin, "/readyz").await;
    assert_eq!(json.json()["checks"]["disk"][0]["output"], "reason withheld");
}

async fn ask_json(admin: &Admin, path: &str) -> Answer {
    let accept = "text/html;q=0.1, application/health+json";
    ask(admin, &format!("GET {path}"), &[("accept", accept)], "").await
}

#[tokio::test(start_paused = true)]
async fn tools_get_health_json() {
    let setup = setup(&["inventory"]).await;
    let answer = ask_json(&setup.admin(), "/readyz?exclude=nobody").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/health+json");
    let json = answer.json();
    assert_eq!(json["status"], "warn");
    assert_eq!((&json["releaseId"], &json["serviceId"]), (&"1.4.2".into(), &"orders".into()));
    let check = &json["checks"]["inventory"][0];
    assert_eq!((&check["status"], &check["kind"]), (&"warn".into(), &"shared".into()));
    assert_eq!(check["output"], "inventory of host-7 is wrong");
    assert!(check["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json["checks"]["disk"][0]["status"], "pass");
    assert_eq!(json["notes"][0], "there is no check `nobody` to exclude");
}

#[tokio::test(start_paused = true)]
async fn what_has_not_been_looked_at_has_not_failed() {
    let setup = Setup::new();
    for (name, kind) in [("inventory", CheckKind::Shared), ("mirror", CheckKind::Informational)] {
        setup.health.passive(name, kind, || Ok(()));
    }
    setup.lifecycle.ready();
    let admin = setup.admin();
    let text = get(&admin, "/readyz?verbose").await.text;
    assert_eq!(
        text,
        "[+]lifecycle ok\n[+]inventory ok, with no result yet\n\
         [+]mirror ok, with no result yet\nreadyz check passed\n"
    );
    let json = ask_json(&admin, "/readyz").await.json();
    assert_eq!(json["status"], "pass");
    assert_eq!(json["checks"]["mirror"][0]["output"], "no result yet");
}

#[tokio::test(start_paused = true)]
async fn a_group_has_to_be_seen_to_work() {
    let setup = Setup::new();
    setup.health.passive("inventory", CheckKind::Shared, || Ok(()));
    setup.health.group("buying", ["inventory"]);
    setup.lifecycle.ready();
    let admin = setup.admin();
    let first = get(&admin, "/readyz?group=buying").await;
    assert_eq!(first.status, 503);
    assert!(first.text.contains("[-]inventory failed: no result yet\n"), "{}", first.text);
    let health = setup.health.clone();
    tokio::spawn(async move { health.run().await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(get(&admin, "/readyz?group=buying").await.status, 200);
}

/// Nobody keeps a service from naming two checks alike, or like what is no check.
#[tokio::test(start_paused = true)]
async fn names_may_be_odd_and_the_same() {
    let odd = "lifecycle a/b?c=d&\"e\"\u{e9}";
    let setup = setup(&["disk"]).await;
    for (name, result) in [("disk", Ok(())), (odd, Err("broken".to_owned()))] {
        setup.health.passive(name, CheckKind::Local, move || result.clone());
    }
    setup.health.group(odd, [odd]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let admin = setup.admin();
    let answer = ask_json(&admin, "/readyz").await;
    assert_eq!(answer.text.matches("\"disk\":").count(), 1, "one key: {}", answer.text);
    let disk = answer.json()["checks"]["disk"].clone();
    assert_eq!((&disk[0]["status"], &disk[1]["status"]), (&"fail".into(), &"pass".into()));

    let path = "lifecycle%20a%2Fb%3Fc%3Dd%26%22e%22%C3%A9";
    let one = get(&admin, &format!("/readyz/{path}")).await;
    assert_eq!((one.status, one.text.contains(odd)), (503, true), "{}", one.text);
    let group = format!("/readyz?group={path}");
    assert_eq!(get(&admin, &group).await.status, 503);
    assert_eq!(get(&admin, &format!("{group}&exclude={path}")).await.status, 200);
    let all = format!("/readyz?exclude=disk&exclude={path}&exclude=%ff&exclude=%");
    assert_eq!(get(&admin, &all).await.status, 200);
    for nobody in ["/readyz/", "/readyz/%ff", "/readyz/%", "/readyz/DISK", "/livez/disk"] {
        assert_eq!(get(&admin, nobody).await.status, 404, "{nobody}");
    }
}
