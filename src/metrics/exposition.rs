//! The text of a [`Snapshot`]: the format of Prometheus (version 0.0.4), or `OpenMetrics` 1.0.

use std::fmt::Write as _;

use super::Snapshot;
use super::families::{FAMILIES, Kind, Samples};

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

    pub(crate) fn write(self, snapshot: &Snapshot) -> String {
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
            // The families of OpenMetrics are named without the suffixes of their samples.
            let family_suffix = match self {
                Self::Prometheus => suffix,
                Self::OpenMetrics => "",
            };
            // Writing to memory cannot fail.
            let _ = writeln!(text, "# HELP {name}{family_suffix} {}", family.help);
            let _ = writeln!(text, "# TYPE {name}{family_suffix} {word}");
            (family.samples)(
                snapshot,
                &mut Samples(&mut |sample| {
                    let _ = write!(text, "{name}{suffix}{}", sample.suffix);
                    for (index, (label, value)) in sample.labels.iter().enumerate() {
                        let start = if index == 0 { '{' } else { ',' };
                        let _ = write!(text, "{start}{label}=\"{}\"", escaped(value));
                    }
                    let end = if sample.labels.is_empty() { "" } else { "}" };
                    let _ = writeln!(text, "{end} {}", sample.value);
                }),
            );
        }
        if self == Self::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
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
        format.write(&Snapshot::of(&CommandQueue::new().unwrap().handle()))
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
arbiter. Gauges are those of the arbiter that answers, and of its workers. The text is Prometheus' own (version 0.0.4), or
OpenMetrics 1.0 where a client prefers it in `Accept`. `examples/prometheus/` has alert rules, `examples/grafana/` a
dashboard.

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
