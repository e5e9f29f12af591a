//! A service restarts under load, again and again, and no request is lost: instances in turn behind
//! a balancer, of HTTP and of gRPC, and one instance on a socket that stays open.
//!
//! A request is lost if it goes without its complete answer, for whatever reason. Nothing is sent a
//! second time. `OCTOSTACK_ROLLING_RESTARTS` and `OCTOSTACK_ROLLING_REQUESTS` make the runs longer.
#![allow(clippy::print_stdout, reason = "figures")]
#![allow(clippy::unwrap_used, reason = "it fails the test")]

mod balancer;
mod connection;
mod grpc;
mod load;
mod process;

use balancer::Balancer;
use load::{Load, Plan};
use process::{Process, Service};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// Requests that are under way at a time.
const CLIENTS: usize = 8;

/// Instances behind the balancer.
const INSTANCES: usize = 3;

/// Ten looks of the balancer. The default is fifty, as nobody waits for a deploy.
const LAME_DUCK: (&str, &str) = ("OCTOSTACK_ROLLING_LIFECYCLE_LAME_DUCK", "1s");

/// Instances in turn, each ended by `signal`. Whether it exits with 0 is of interest for SIGTERM.
async fn in_turn(service: Service, plan: Plan, signal: Signal) -> Load {
    let balancer = Balancer::new(INSTANCES);
    let mut instances = Vec::new();
    for place in 0..INSTANCES {
        let instance = Process::start(service, &[LAME_DUCK]).await;
        balancer.attach(place, instance.public);
        instances.push(instance);
    }
    for place in 0..INSTANCES {
        balancer.ready(place).await;
    }
    let load = Load::start(service, &balancer, CLIENTS);
    for restart in 0..plan.restarts {
        load.answered(plan.before(restart)).await;
        let place = restart % INSTANCES;
        let code = instances[place].stop(signal).await;
        assert!(signal != Signal::TERM || code == Some(0), "restart {restart}: {code:?}");
        instances[place] = Process::start(service, &[LAME_DUCK]).await;
        balancer.attach(place, instances[place].public);
        balancer.ready(place).await;
    }
    load.answered(plan.requests).await;
    load.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_instances_restart_in_turn() {
    let plan = Plan::from_env_or(6, 20_000);
    let load = in_turn(Service::Http, plan, Signal::TERM).await;
    println!("rolling: {} restarts in turn, {load}", plan.restarts);
    load.assert_nothing_lost(plan.requests);
}

/// Fewer restarts, as what is new is the protocol: GOAWAY, and calls of several clients on one
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_instances_of_grpc_restart_in_turn() {
    let plan = Plan::from_env_or(3, 6_000);
    let load = in_turn(Service::Grpc, plan, Signal::TERM).await;
    println!("rolling: {} restarts in turn of gRPC, {load}", plan.restarts);
    load.assert_nothing_lost(plan.requests);
}

/// Otherwise the tests above would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_are_killed_lose_requests() {
    for (service, shown) in [(Service::Http, "HTTP"), (Service::Grpc, "gRPC")] {
        let load = in_turn(service, Plan { restarts: 3, requests: 3_000 }, Signal::KILL).await;
        println!("killed: 3 restarts of {shown}, {load}");
        assert!(load.lost() > 0, "{shown}: {load}");
    }
}

/// As a service manager does it that has opened the socket itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_one_instance_restarts_on_the_same_socket() {
    let plan = Plan::from_env_or(6, 20_000);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    fcntl_setfd(&socket, FdFlags::empty()).unwrap();
    let first = socket.as_raw_fd().to_string();
    let passed = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", first.as_str())];
    let port = Balancer::of_one(socket.local_addr().unwrap());
    let mut instance = Process::start(Service::Http, &passed).await;
    let load = Load::start(Service::Http, &port, CLIENTS);
    for restart in 0..plan.restarts {
        load.answered(plan.before(restart)).await;
        assert_eq!(instance.stop(Signal::TERM).await, Some(0), "restart {restart}");
        instance = Process::start(Service::Http, &passed).await;
        assert_eq!(instance.public, socket.local_addr().unwrap());
    }
    load.answered(plan.requests).await;
    let load = load.stop().await;
    println!("rolling: {} restarts on one socket, {load}", plan.restarts);
    load.assert_nothing_lost(plan.requests);
    assert_eq!(instance.stop(Signal::TERM).await, Some(0));
}
