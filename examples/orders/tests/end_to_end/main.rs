//! The service from outside: real processes, real sockets, real signals.
//!
//! Each test starts its own `orders` on free ports and asks of it what its users and operators
//! rely on. Nothing here knows how the service is made.
mod admin;
mod bad_config;
mod bad_input;
mod canary;
mod collector;
mod config_commands;
mod contract;
mod directory;
mod drain;
mod drain_load;
mod flags;
#[cfg(target_os = "linux")] // of which the memory is looked at
mod floods;
mod health;
mod http;
mod in_flight;
mod inventory;
mod listeners;
mod marks;
mod policies_follow;
mod process;
mod rate_limit;
mod reload;
mod secret_log;
mod secret_rotation;
mod secrets;
mod sockets;
mod stalled_log;
mod start;
#[cfg(target_os = "linux")] // which tells what is handled
mod sudden_end;
mod systemd;
mod tasks;
mod traces;
mod vault;
