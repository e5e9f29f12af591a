//! Tasks: one that runs beside the service, and one that an operator runs in its place.
use crate::process::{Exit, Orders, Process};
use octostack::core::lifecycle::FileLock;
use rustix::process::Signal;
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

#[test]
fn a_task_at_an_interval_is_to_be_seen() {
    let orders = Orders::start(&[]);
    orders.process.eventually("the first count", || {
        (orders.metric("orders_kept", &[]) == Some(3.0)).then_some(())
    });
    let count = orders.process.eventually("the end of the first run", || {
        let tasks = orders.page("/statusz")["tasks"].as_array().unwrap().clone();
        let count = tasks.into_iter().find(|task| task["name"] == "count").unwrap();
        (count["runs"] == 1).then_some(count)
    });
    assert_eq!(count["interval"], "10s");
    assert_eq!((&count["state"], &count["last_run"]["result"]), (&"idle".into(), &"ok".into()));
    assert_eq!((&count["failures"], &count["skipped"]), (&0.into(), &0.into()));
    let labels = [("task", "count"), ("result", "ok")];
    assert_eq!(orders.metric("octostack_task_runs_total", &labels), Some(1.0));
    assert_eq!(orders.stop(Signal::INT).code, Some(0));
}

/// A directory of one test for its locks.
struct Locks(PathBuf);

impl Locks {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("orders-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self) -> PathBuf {
        self.0.join("orders-development-check-inventory.lock")
    }

    fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let dir = ("ORDERS_LIFECYCLE_LOCK_DIR", self.0.to_str().unwrap());
        Process::spawn(arguments, &[&[dir], environment].concat())
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Exit {
        self.spawn(arguments, environment).exit()
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn messages<'a>(exit: &'a Exit, message: &str) -> Vec<&'a Value> {
    exit.lines.iter().filter(|line| line["message"] == message).collect()
}

#[test]
fn an_admin_task_runs_with_the_settings_and_without_a_port() {
    let locks = Locks::new("runs");
    let exit = locks.run(&["admin", "check-inventory"], &[]);
    assert_eq!((exit.code, &*exit.errors), (Some(0), ""), "{exit:?}");
    let found = messages(&exit, "in the inventory");
    let found: Vec<_> = found.iter().map(|line| &line["context"]["article"]).collect();
    assert_eq!(found, ["teapot", "teacup", "samovar"]);
    let listeners = messages(&exit, "listening");
    let listeners: Vec<_> = listeners.iter().map(|line| &line["context"]["subject"]).collect();
    assert!(!listeners.iter().any(|name| *name == "public" || *name == "admin"), "{listeners:?}");

    let exit = locks.run(&["admin", "check-inventory", "teapot", "spaceship"], &[]);
    assert_eq!(exit.code, Some(2), "the task's own code: {exit:?}");
    assert_eq!(messages(&exit, "not in the inventory").len(), 1);
}

#[test]
fn what_goes_wrong_is_the_exit_code_and_said_twice() {
    let locks = Locks::new("fails");
    // A port where nobody listens any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let exit = locks.run(&["admin", "check-inventory"], &[("ORDERS_INVENTORY_URL", &url)]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.errors.starts_with("orders: task check-inventory failed: "), "{exit:?}");
    let said = messages(&exit, "task check-inventory failed");
    assert_eq!((said.len(), &said[0]["level"]), (1, &"fatal".into()));

    let exit = locks.run(&["admin", "check-inventory"], &[("ORDERS_INVENTORY_TIMEOUT", "soon")]);
    assert_eq!(exit.code, Some(78), "{exit:?}");
    let exit = locks.run(&["admin", "check-inventroy"], &[]);
    assert_eq!(exit.code, Some(64));
    let said =
        "orders: there is no admin task `check-inventroy`; did you mean `check-inventory`?\n";
    assert_eq!(exit.errors, said);
}

#[test]
fn admin_tasks_are_listed() {
    let said = |arguments: &[&str]| Process::spawn(arguments, &[]).end().text;
    let line = "  check-inventory  asks the inventory for each article once";
    assert_eq!(said(&["admin"]), line);
    assert!(said(&["--help"]).contains(line));
    let contract: Value = serde_json::from_str(&said(&["contract"])).unwrap();
    assert_eq!(contract["tasks"][0]["name"], "check-inventory");
    assert_eq!(contract["tasks"][0]["exclusive"], true);
}

#[test]
fn one_instance_runs_at_a_time() {
    let locks = Locks::new("once");
    let lock = FileLock::try_acquire(&locks.file()).unwrap();
    let exit = locks.run(&["admin", "check-inventory"], &[]);
    assert_eq!(exit.code, Some(75), "{exit:?}");
    let holder = format!("process {} holds the lock", std::process::id());
    assert!(exit.errors.contains(&holder), "{exit:?}");
    assert!(messages(&exit, "in the inventory").is_empty());
    let exit = locks.run(&["admin", "--wait=300ms", "check-inventory"], &[]);
    assert_eq!(exit.code, Some(75), "{exit:?}");

    let waits = |locks: &Locks| {
        let waiting = locks.spawn(&["admin", "--wait", "check-inventory"], &[]);
        waiting.wait_for("it waits", |lines| {
            let says = |line: &Value| {
                line["message"].as_str().is_some_and(|text| text.starts_with("waiting: process "))
            };
            lines.iter().any(says).then_some(())
        });
        waiting
    };
    let told = waits(&locks);
    told.signal(Signal::TERM);
    assert_eq!(told.exit().code, Some(75), "told to end before its turn");
    let waiting = waits(&locks);
    drop(lock);
    assert_eq!(waiting.exit().code, Some(0));
}

/// A task that asks an inventory which never answers.
fn stuck(locks: &Locks, environment: &[(&str, &str)]) -> (Process, TcpListener, TcpStream) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let own = [("ORDERS_INVENTORY_URL", &*url), ("ORDERS_INVENTORY_TIMEOUT", "20s")];
    let process = locks.spawn(&["admin", "check-inventory"], &[&own, environment].concat());
    silent.set_nonblocking(true).unwrap();
    let asked = process.eventually("it asks", || Some(silent.accept().ok()?.0));
    (process, silent, asked)
}

#[test]
fn a_signal_gives_it_a_limit_and_a_second_one_none() {
    let locks = Locks::new("signals");
    let limit = [("ORDERS_LIFECYCLE_DRAIN_TIMEOUT", "300ms")];
    let (process, _silent, _asked) = stuck(&locks, &limit);
    process.signal(Signal::TERM);
    let exit = process.exit();
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.errors.contains("it did not end in time, and was cut"), "{exit:?}");

    let (process, _silent, _asked) = stuck(&locks, &[]);
    process.signal(Signal::INT);
    process.wait_for("draining", |lines| {
        lines.iter().any(|line| line["context"]["to"] == "draining").then_some(())
    });
    process.signal(Signal::TERM);
    assert_eq!(process.exit().code, Some(143));
}

#[test]
fn a_lock_ends_with_its_process_however_that_ends() {
    let locks = Locks::new("killed");
    let (process, _silent, _asked) = stuck(&locks, &[]);
    let holds = |path: &Path| FileLock::try_acquire(path).is_err();
    assert!(holds(&locks.file()));
    process.signal(Signal::KILL);
    assert_eq!(process.exit().code, None);
    assert!(!holds(&locks.file()));
}
