//! The text of a [`Snapshot`]: the format of Prometheus (version 0.0.4), or `OpenMetrics` 1.0.

use std::fmt::{Display, Write as _};
use std::time::SystemTime;

use super::Snapshot;
use super::applications::{ApplicationKind, Applications};
use super::families::{FAMILIES, Kind, Samples};
use crate::ipc::exemplars::Exemplar;
use crate::time::MonoTime;

/// The form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Prometheus,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

impl Format {
    /// The form that a client prefers, by its field `Accept` (RFC 9110, section 12.5.1).
    pub(crate) fn preferred(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let weight = parts.find_map(|it| it.strip_prefix("q="));
            let weight: f32 = weight.map_or(Ok(1.0), str::parse).unwrap_or(0.0);
            if media.eq_ignore_ascii_case("application/openmetrics-text") {
                open = weight.max(open);
            } else if media.eq_ignore_ascii_case("text/plain") {
                plain = weight.max(plain);
            }
        }
        if open > 0.0 && open >= plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The metrics of the server, and after them those of its applications.
    pub(crate) fn write(self, snapshot: &Snapshot, applications: &Applications) -> String {
        let mut text = String::with_capacity(8192);
        for family in FAMILIES {
            let (name, kind) = (family.name, family.kind);
            let suffix = match kind {
                Kind::Counter => "_total",
                Kind::Info => "_info",
                Kind::Gauge | Kind::Histogram => "",
            };
            let word = match kind {
                Kind::Counter => "counter",
                Kind::Histogram => "histogram",
                Kind::Info if self == Self::OpenMetrics => "info",
                Kind::Gauge | Kind::Info => "gauge",
            };
            self.write_head(&mut text, name, suffix, word, family.help);
            (family.samples)(
                snapshot,
                &mut Samples(&mut |sample| {
                    let labels = sample.labels.iter().copied();
                    write_sample(
                        &mut text,
                        [name, suffix, sample.suffix],
                        labels,
                        sample.value,
                    );
                    if let Some(exemplar) = sample.exemplar.filter(|_| self == Self::OpenMetrics) {
                        write_exemplar(&mut text, exemplar);
                    }
                    text.push('\n');
                }),
            );
        }
        for family in applications.read() {
            let (suffix, word) = match family.kind {
                ApplicationKind::Counter => ("_total", "counter"),
                ApplicationKind::Gauge => ("", "gauge"),
                ApplicationKind::Histogram => ("", "histogram"),
                ApplicationKind::Summary => ("", "summary"),
            };
            self.write_head(&mut text, &family.name, suffix, word, &family.help);
            for sample in family.samples {
                let labels = sample
                    .labels
                    .iter()
                    .map(|(label, value)| (&**label, &**value));
                write_sample(
                    &mut text,
                    [&family.name, sample.suffix],
                    labels,
                    &sample.value,
                );
                text.push('\n');
            }
        }
        if self == Self::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }

    /// What stands before the samples of a family, whose own have a suffix.
    fn write_head(self, text: &mut String, name: &str, suffix: &str, word: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // OpenMetrics names families without it.
        let (suffix, help) = match self {
            Self::Prometheus => (suffix, help),
            Self::OpenMetrics => ("", help.replace('"', "\\\"")),
        };
        // Writing to memory cannot fail.
        let _ = writeln!(text, "# HELP {name}{suffix} {help}");
        let _ = writeln!(text, "# TYPE {name}{suffix} {word}");
    }
}

/// A sample, whose name is given in parts.
fn write_sample<'s, const N: usize>(
    text: &mut String,
    name: [&str; N],
    labels: impl Iterator<Item = (&'s str, &'s str)>,
    value: &dyn Display,
) {
    text.extend(name);
    let mut start = '{';
    for (label, value) in labels {
        let _ = write!(text, "{start}{label}=\"{}\"", escaped(value));
        start = ',';
    }
    let end = if start == '{' { "" } else { "}" };
    let _ = write!(text, "{end} {value}");
}

/// What may stand behind a sample: a request, its value, and when it was.
fn write_exemplar(text: &mut String, exemplar: &Exemplar) {
    let Exemplar {
        request_id,
        took,
        finished,
    } = exemplar;
    let age = MonoTime::now().since(*finished);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let at = now.unwrap_or_default().saturating_sub(age);
    let _ = write!(
        text,
        " # {{request_id=\"{}\"}} {} {:.3}",
        escaped(request_id),
        took.as_secs_f64(),
        at.as_secs_f64()
    );
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::{env, fs};

    use super::*;
    use crate::arbiter::CommandQueue;

    fn text(format: Format) -> String {
        let handle = CommandQueue::new().unwrap().handle();
        format.write(&Snapshot::of(&handle), &Applications::default())
    }

    #[test]
    fn a_client_gets_the_form_that_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "text/plain, application/openmetrics-text;q=0.5",
                Format::Prometheus,
            ),
            ("application/openmetrics-text; q=0", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("", Format::Prometheus),
            (";q=x,,", Format::Prometheus),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }

    #[test]
    fn both_forms_name_the_families_by_their_rules() {
        let prometheus = text(Format::Prometheus);
        assert!(
            prometheus.contains("# TYPE oxicorn_build_info gauge\noxicorn_build_info{version=\"")
        );
        assert!(prometheus.contains("# TYPE oxicorn_requests_total counter\n"));
        let open = text(Format::OpenMetrics);
        assert!(open.contains("# TYPE oxicorn_build info\noxicorn_build_info{version=\""));
        assert!(open.contains("# TYPE oxicorn_requests counter\n"));
        assert!(open.ends_with("\n# EOF\n") && !prometheus.contains("# EOF"));
    }

    #[test]
    fn a_label_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    /// The names of metrics in a text, without the suffixes of their samples.
    fn names(text: &str) -> BTreeSet<&str> {
        let found = text.match_indices("oxicorn_").filter(|(at, _)| {
            // `instance:oxicorn_requests:rate5m` is what a rule makes.
            let before = text[..*at].chars().next_back();
            before.is_none_or(|c| c != ':' && !c.is_alphanumeric())
        });
        let found = found.map(|(at, _)| {
            let end = text[at..].find(|c: char| !c.is_alphanumeric() && c != '_');
            &text[at..at + end.unwrap_or(text.len() - at)]
        });
        let suffixes = ["_total", "_info", "_bucket", "_sum", "_count"];
        let bare = |name| suffixes.iter().find_map(|it| str::strip_suffix(name, it));
        found.map(|name| bare(name).unwrap_or(name)).collect()
    }

    #[test]
    fn examples_use_metrics_that_there_are() {
        let rules = include_str!("../../examples/prometheus/oxicorn.rules.yml");
        let dashboard = include_str!("../../examples/grafana/oxicorn.json");
        let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        for text in [rules, dashboard] {
            let used = names(text);
            assert!(used.len() >= 8, "{used:?}");
            let unknown: Vec<_> = used.difference(&known).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }

    const HEAD: &str = "# Metrics

What `/metrics` of the side listener (`status_bind`) tells. This page is made from the table in `src/metrics/families.rs`.

Counters and histograms are those of all workers since the server's start: they outlive workers and, over an upgrade, the
arbiter. A response is counted in `oxicorn_requests_total` before its last bytes leave, and in histograms and bytes when its
call is over: so where a worker is killed, the first may count one response a thread that did not leave, and the others may
lack one. Gauges are those of the arbiter that answers, and of its workers. The text is Prometheus' own (version 0.0.4), or
OpenMetrics 1.0 where a client prefers it in `Accept`. `examples/prometheus/` has alert rules, `examples/grafana/` a
dashboard.

Behind them come the metrics that applications count themselves with `prometheus_client` in its mode for several processes.
Where `PROMETHEUS_MULTIPROC_DIR` is set, in the environment or by `raw_env` when the server starts, the files in that folder
are merged by the rules of that package's `MultiProcessCollector`, without Python. So the application needs no path for
metrics of its own, and its numbers come while all workers are busy. When a worker has died, its files of gauges with a
`live` mode are removed, after the hook `child_exit`. The names that begin with `oxicorn_` are the server's: metrics of
applications that have one are left out, and so is what cannot be read, with one line in the log. At most 4 MiB of a file
and 16 MiB of all files are read. The folder must be empty when a server starts, as that package asks for it too.

| metric | kind | labels | meaning |
|---|---|---|---|
";

    #[test]
    fn the_metrics_page_is_up_to_date() {
        let mut names = BTreeSet::new();
        let mut wanted = HEAD.to_owned();
        for family in FAMILIES {
            let suffix = match family.kind {
                Kind::Counter => "_total",
                Kind::Info => "_info",
                Kind::Gauge | Kind::Histogram => "",
            };
            assert!(names.insert(family.name), "{} twice", family.name);
            let kind = format!("{:?}", family.kind).to_lowercase();
            let _ = writeln!(
                wanted,
                "| `{}{suffix}` | {kind} | {} | {} |",
                family.name, family.labels, family.help
            );
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
        if env::var_os("OXICORN_BLESS").is_some_and(|bless| bless == "1") {
            fs::write(path, &wanted).unwrap();
        }
        let found = fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/METRICS.md should be (OXICORN_BLESS=1 writes it):\n\n{wanted}"
        );
    }
}
