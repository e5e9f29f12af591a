use super::support::*;
use octostack_core::config::Loader;

fn dotenv(name: &str, text: &str) -> Loader {
    let file = write(&temp_dir(name), ".env", text);
    bare_loader([("ORDERS_SIGNING_KEY", "k")]).dotenv(file)
}

#[test]
fn variables_of_a_file_are_below_those_of_the_process_and_above_files() {
    let text = "PORT=1\nORDERS_RETRIES=7\nexport ORDERS_HOSTS='a,b'\nDATABASE_URL=whatever\n";
    let dir = temp_dir("dotenv-file");
    let file = write(&dir, "default.toml", "retries = 2\n[inventory]\nurl = 'http://file'");
    let loaded = dotenv("dotenv-order", text)
        .environment([("ORDERS_HOSTS", "c")])
        .file(file)
        .load::<Framework, Settings>()
        .unwrap();
    assert_eq!((loaded.framework.server.port, loaded.settings.retries), (1, 7));
    assert_eq!(loaded.settings.hosts, ["c"]);
    assert_eq!(loaded.settings.inventory.url, "http://file");
    assert_eq!(loaded.warnings, [""; 0], "what others read is no business of ours");
    let source = loaded.report.get("retries").unwrap().origin.to_string();
    assert!(source.starts_with("ORDERS_RETRIES (") && source.ends_with(".env:2)"), "{source}");
}

#[test]
fn it_counts_in_development_only_and_need_not_exist() {
    let production =
        dotenv("dotenv-production", "ORDERS_RETRIES=wrong").environment_name("production");
    assert_eq!(production.load::<Framework, Settings>().unwrap().settings.retries, 5);
    let none = bare_loader([("ORDERS_SIGNING_KEY", "k")]).dotenv("/nowhere/.env");
    assert!(none.load::<Framework, Settings>().is_ok());
}

#[test]
fn what_is_wrong_in_it_is_told_with_its_line_and_without_secrets() {
    let text = "ORDERS_RETRIES=500\nORDERS_RETRYS=1\nAPP_ENV=production\nORDERS_DATABASE_FILE=/x\n";
    let errors =
        dotenv("dotenv-wrong", text).load::<Framework, Settings>().unwrap_err().to_string();
    for part in [
        "ORDERS_RETRIES (",
        ".env:1): retries: expected a whole number from 1 to 100, got 500",
        ".env:3:1: APP_ENV cannot be set here",
        "ORDERS_RETRYS: no setting reads this variable; did you mean ORDERS_RETRIES?",
    ] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let broken = "ORDERS_SIGNING_KEY=\"s3cr3t";
    let errors =
        dotenv("dotenv-broken", broken).load::<Framework, Settings>().unwrap_err().to_string();
    assert!(errors.contains(".env:1:20: this quote is not closed"), "{errors}");
    assert!(!errors.contains("s3cr3t"), "{errors}");
}
