//! `examples/serve.rs` with Python applications, a module a topic.

mod cli;
mod disconnects;
mod django;
mod environ;
mod failures;
mod flask;
mod hangs;
mod hello;
mod interrupts;
mod keepalive;
mod leaving;
mod lifecycle;
mod listeners;
mod logs;
mod preload;
mod protocol;
mod proxies;
mod responses;
mod slow_clients;
mod supervision;
mod threads;
mod tolerance;
mod too_long;
mod upgrade;
mod uploads;
mod venv;
