//! The page for people: tables and plots, readable without a script, which only reads it again.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::history::History;
use crate::metrics::{Snapshot, path, refusal_word, restart_word, state_word, worker_state_word};

/// What a browser may load and run for the page: files of this listener alone.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6875;--line:#d8dee5;--back:#fff;--card:#f5f7f9;--plot:#2563a8;--good:#1c7c44;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#9aa7b4;--line:#36414d;--back:#14191f;--card:#1c232b;--plot:#6fb0ef;--good:#5fca8b;--bad:#f28b82}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back)}
main{max-width:76rem;margin:auto}
h1{font-size:1.3rem;margin:.2rem 0 1rem}h2{font-size:1rem;margin:1.6rem 0 .4rem}
.good{color:var(--good)}.bad{color:var(--bad)}
.cards,.plots{display:grid;gap:.7rem;grid-template-columns:repeat(auto-fit,minmax(8.4rem,1fr))}
.plots{grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));margin-top:.7rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.5rem .7rem;margin:0}
.card dt,figcaption,th{color:var(--soft);font-size:.85rem;font-weight:normal}
.card dd{margin:0;font-size:1.15rem}
figure svg{display:block;width:100%;height:4.5rem}
polyline{fill:none;stroke:var(--plot);stroke-width:1.5;vector-effect:non-scaling-stroke}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td.doing{overflow-wrap:anywhere;min-width:12rem}
.halves{display:grid;gap:0 2rem;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr))}
.stale main{opacity:.5}
";

pub(super) const SCRIPT: &str = "\
setInterval(async () => {
  try {
    const answer = await fetch(location.href, { cache: 'no-store' });
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    document.querySelector('main').replaceWith(page.querySelector('main'));
    document.body.className = '';
  } catch {
    document.body.className = 'stale';
  }
}, 2000);
";

/// Text of others in a document.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A time for people.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{} min", seconds / 60),
            7200..172_800 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} d", seconds / 86_400),
        }
    }
}

fn megabytes(bytes: Option<u64>) -> String {
    let tenths = bytes.map(|bytes| bytes / 100_000);
    tenths.map_or_else(
        || "?".to_owned(),
        |tenths| format!("{}.{}", tenths / 10, tenths % 10),
    )
}

/// The document.
pub(super) fn html(snapshot: &Snapshot, history: &History) -> String {
    let mut page = String::with_capacity(16 * 1024);
    page.push_str(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Server status</title>\n\
         <link rel=\"stylesheet\" href=\"style.css\">\n<script src=\"refresh.js\" defer></script>\n\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n</head>\n<body>\n<main>\n",
    );
    // Writing to memory cannot fail.
    let _ = body(&mut page, snapshot, history);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn body(page: &mut String, snapshot: &Snapshot, history: &History) -> fmt::Result {
    let (status, readiness) = (&snapshot.status, snapshot.readiness);
    let class = if readiness.is_ready() { "good" } else { "bad" };
    writeln!(
        page,
        "<h1>The server is <span class=\"{class}\">{readiness}</span></h1>"
    )?;
    let rates = history.rates();
    let latencies = history.latencies();
    let last = |values: &[f64]| values.last().copied().unwrap_or_default();
    writeln!(page, "<div class=\"cards\">")?;
    card(
        page,
        "Arbiter",
        format_args!("{}", state_word(status.state)),
    )?;
    card(page, "pid", format_args!("{}", status.pid))?;
    card(page, "Running for", format_args!("{}", Time(status.uptime)))?;
    card(page, "Generation", format_args!("{}", status.generation))?;
    card(
        page,
        "Workers ready",
        format_args!("{} of {}", status.ready, status.target),
    )?;
    card(
        page,
        "Requests a second",
        format_args!("{:.1}", last(&rates)),
    )?;
    card(
        page,
        "Being answered",
        format_args!("{}", snapshot.in_flight()),
    )?;
    card(
        page,
        "Threads free",
        format_args!("{}", snapshot.idle_threads()),
    )?;
    card(page, "Connections", format_args!("{}", status.connections))?;
    card(page, "Backlog", format_args!("{}", snapshot.waiting()))?;
    if status.busy >= Duration::from_secs(1) {
        card(
            page,
            "Arbiter busy for",
            format_args!("{}", Time(status.busy)),
        )?;
    }
    writeln!(page, "</div>\n<div class=\"plots\">")?;
    plot(page, "Requests a second", &rates)?;
    plot(page, "Mean duration, ms", &latencies)?;
    plot(page, "Requests being answered", &history.busy())?;
    writeln!(page, "</div>")?;
    workers(page, snapshot)?;
    totals(page, snapshot)
}

fn card(page: &mut String, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(
        page,
        "<dl class=\"card\"><dt>{name}</dt><dd>{value}</dd></dl>"
    )
}

/// A line over the last five minutes, as high as its largest value.
fn plot(page: &mut String, name: &str, values: &[f64]) -> fmt::Result {
    let most = values.iter().copied().fold(0.0, f64::max);
    write!(
        page,
        "<figure class=\"card\"><figcaption>{name}, at most {most:.1}</figcaption>\
         <svg viewBox=\"0 0 150 50\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name}\"><polyline points=\""
    )?;
    let start = 150usize.saturating_sub(values.len());
    for (index, value) in values.iter().enumerate() {
        let height = if most > 0.0 { value / most * 46.0 } else { 0.0 };
        write!(page, "{},{:.1} ", start + index, 48.0 - height)?;
    }
    writeln!(page, "\"/></svg></figure>")
}

fn workers(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    writeln!(
        page,
        "<h2>Workers</h2>\n<div class=\"wide\"><table><thead><tr><th>Worker</th><th>Group</th><th>State</th>\
         <th class=\"n\">pid</th><th class=\"n\">Generation</th><th class=\"n\">Age</th><th class=\"n\">Requests</th>\
         <th class=\"n\">Connections</th><th class=\"n\">Memory, MB</th><th>Now</th></tr></thead><tbody>"
    )?;
    for worker in &snapshot.workers {
        write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"doing\">",
            worker.id,
            Escaped(&worker.group),
            worker_state_word(worker.state),
            worker.pid,
            worker.generation,
            Time(worker.age),
            worker.requests,
            worker.connections,
            megabytes(worker.memory()),
        )?;
        for (index, call) in worker.current.iter().enumerate() {
            let between = if index == 0 { "" } else { "<br>" };
            let (method, path) = (Escaped(&call.method), Escaped(path(&call.target)));
            write!(page, "{between}{method} {path} for {}", Time(call.age))?;
        }
        writeln!(page, "</td></tr>")?;
    }
    writeln!(page, "</tbody></table></div>")
}

fn totals(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let Some(totals) = &snapshot.totals else {
        return Ok(());
    };
    writeln!(page, "<div class=\"halves\">")?;
    let backlogs = snapshot.backlogs.iter();
    let backlogs = backlogs.map(|it| (Escaped(&it.address), it.waiting));
    counts(page, "Backlog", backlogs)?;
    let classes = ["no status", "1xx", "2xx", "3xx", "4xx", "5xx"];
    counts(page, "Responses", classes.into_iter().zip(totals.responses))?;
    let restarts = totals.restarts.iter();
    counts(
        page,
        "Restarts",
        restarts.map(|(cause, count)| (words(restart_word(*cause)), *count)),
    )?;
    let refusals = totals.refusals.iter();
    counts(
        page,
        "Refused requests",
        refusals.map(|(cause, count)| (words(refusal_word(*cause)), *count)),
    )?;
    let changes = [
        ("reloads", totals.reloads.succeeded),
        ("reloads that failed", totals.reloads.failed),
        ("upgrades", totals.upgrades.succeeded),
        ("upgrades that failed", totals.upgrades.failed),
    ];
    counts(page, "Changes", changes.into_iter())?;
    writeln!(page, "</div>")
}

fn words(label: &str) -> String {
    label.replace('_', " ")
}

fn counts<W: fmt::Display>(
    page: &mut String,
    title: &str,
    rows: impl Iterator<Item = (W, u64)>,
) -> fmt::Result {
    writeln!(page, "<div><h2>{title}</h2><table><tbody>")?;
    for (word, count) in rows {
        writeln!(page, "<tr><td>{word}</td><td class=\"n\">{count}</td></tr>")?;
    }
    writeln!(page, "</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_become_a_part_of_the_page() {
        let text = Escaped("<script>\"&'\u{1b}").to_string();
        assert_eq!(text, "&lt;script&gt;&quot;&amp;'\u{fffd}");
    }

    #[test]
    fn times_and_plots_are_short() {
        let time = |seconds| Time(Duration::from_secs(seconds)).to_string();
        let times = [1, 60, 600, 86_400, 864_000].map(time);
        assert_eq!(times, ["1.0 s", "60 s", "10 min", "24 h", "10 d"]);
        let mut page = String::new();
        plot(&mut page, "a", &[0.0, 2.0, 1.0]).unwrap();
        assert!(
            page.contains("points=\"147,48.0 148,2.0 149,25.0 \""),
            "{page}"
        );
    }
}
