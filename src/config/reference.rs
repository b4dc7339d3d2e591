//! `docs/SETTINGS.md`, made from the table.
//!
//! Nothing is written by hand there: the test shows what it should be, and `OXICORN_BLESS=1` writes it.

use std::fmt::Write;
use std::{env, fs};

use super::setting::SETTINGS;

const HEAD: &str = "\
# Settings

<!-- Made from `oxicorn::config::SETTINGS`; `OXICORN_BLESS=1 cargo test --lib reference` writes it anew. -->

A setting's value comes from its built-in default, its environment variable or the command line. Each of these \
replaces the value of the ones before it, also if the value is a list. `--print-config` shows each value with its origin.

A flag takes its value as `--flag VALUE` or `--flag=VALUE`. A flag that is listed without a value means `true`, and \
takes another value only as `--flag=VALUE`. Whole numbers can be written as in Python (`0x10`, `1_000`). Times are in \
seconds and can have a fraction.

`--help` lists the settings in **bold**. `--help-all` lists them all. A program sets each one by the method of its name \
on `ServerBuilder`.
";

fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            let _ = write!(
                page,
                "\n## {section}\n\n| setting | flag | environment | default | meaning |\n|---|---|---|---|---|\n"
            );
        }
        let flags = if setting.flags.is_empty() {
            format!("`{}`", setting.metavar)
        } else {
            let flags: Vec<_> = setting
                .flags
                .iter()
                .map(|flag| format!("`{flag}`"))
                .collect();
            let flags = flags.join(" ");
            match setting.bare {
                Some(_) if setting.is_switch() => flags,
                Some(_) => format!("{flags} `[{}]`", setting.metavar),
                None => format!("{flags} `{}`", setting.metavar),
            }
        };
        let variable = setting
            .variable
            .map(|variable| format!("`{}${}`", variable.prefix, variable.name))
            .unwrap_or_default();
        let default = setting
            .default()
            .map(|text| format!("`{text}`"))
            .unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {flags} | {variable} | {default} | {} |",
            if setting.common {
                format!("**`{}`**", setting.name)
            } else {
                format!("`{}`", setting.name)
            },
            setting.help
        );
    }
    page
}

#[test]
fn the_settings_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SETTINGS.md");
    let wanted = reference();
    if env::var_os("OXICORN_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(path, &wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/SETTINGS.md should be (OXICORN_BLESS=1 writes it):\n\n{wanted}"
    );
}
