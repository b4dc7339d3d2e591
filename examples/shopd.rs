//! A server under a name of its own: `cargo run --example shopd --features toml -- --greeting Welcome`.
//! `shopd.toml` may have any setting, and a table of prices: `[prices]`, `tea = 2.5`.

use std::{collections::BTreeMap, env, process::ExitCode};

use oxicorn::cli::Command;
use oxicorn::config::{OwnSetting, Settings};
use oxicorn::{Error, MakeService, Request, Responder, Result};

type Prices = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let greeting = OwnSetting::value::<String>("greeting").help("Words before each price");
    let command = Command::new("shopd")
        .version("2.1")
        .about("Sells")
        .default("workers", "2")
        .default("greeting", "Hello")
        .without(["wsgi_app", "pythonpath", "venv", "raw_env", "preload_app"])
        .setting(greeting.short('G'))
        .setting(OwnSetting::table::<Prices>("prices"))
        .toml_files("shopd.toml");
    let serve = || command.server(env::args_os())?.serve_from(shop);
    oxicorn::exit(serve())
}

/// Made at the start, and again on each reload.
fn shop(settings: &Settings) -> Result<impl MakeService<Service: Sync> + use<>> {
    let greeting = settings.object::<String>("greeting").cloned();
    let greeting = greeting.unwrap_or_default();
    let prices = settings.object::<Prices>("prices").cloned();
    let prices = prices.ok_or_else(|| Error::new("the shop has no prices"))?;
    Ok(move |request: Request<'_>, reply: Responder<'_>| {
        match prices.get(request.path().trim_matches('/')) {
            Some(price) => reply.text(200, format!("{greeting}: {price}\n")),
            None => reply.text(404, "sold out\n"),
        }
    })
}
