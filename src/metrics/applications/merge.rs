//! [`Merger`]: makes one metric of what each process has told of it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::file::{self, Entry};
use super::number::Number;
use crate::json::Json;

/// The modes of a gauge; each of them also as that of processes which live.
pub(super) const GAUGE_MODES: [&str; 5] = ["all", "min", "max", "sum", "mostrecent"];

/// Names that begin so are the server's own.
const OURS: &str = "oxicorn_";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::metrics) enum ApplicationKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// How the values of several processes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Sum,
    Least,
    Most,
    Newest,
    /// Each process has a sample of its own.
    Apart,
}

/// What the name of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    kind: ApplicationKind,
    rule: Rule,
    process: String,
}

impl Source {
    /// `None` for a file of others.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (kind, rest) = name.strip_suffix(".db")?.split_once('_')?;
        let (kind, rule, process) = match kind {
            "counter" => (ApplicationKind::Counter, Rule::Sum, rest),
            "histogram" => (ApplicationKind::Histogram, Rule::Sum, rest),
            "summary" => (ApplicationKind::Summary, Rule::Sum, rest),
            "gauge" => {
                let (mode, process) = rest.split_once('_')?;
                let rule = match mode.strip_prefix("live").unwrap_or(mode) {
                    "all" => Rule::Apart,
                    "min" => Rule::Least,
                    "max" => Rule::Most,
                    "sum" => Rule::Sum,
                    "mostrecent" => Rule::Newest,
                    _ => return None,
                };
                (ApplicationKind::Gauge, rule, process)
            }
            _ => return None,
        };
        let process = process.to_owned();
        Some(Self {
            kind,
            rule,
            process,
        })
    }
}

/// A metric of applications.
#[derive(Debug)]
pub(in crate::metrics) struct ApplicationFamily {
    /// Without the suffix of its kind.
    pub(in crate::metrics) name: String,
    pub(in crate::metrics) kind: ApplicationKind,
    pub(in crate::metrics) help: String,
    pub(in crate::metrics) samples: Vec<ApplicationSample>,
}

#[derive(Debug)]
pub(in crate::metrics) struct ApplicationSample {
    pub(in crate::metrics) suffix: &'static str,
    pub(in crate::metrics) labels: Labels,
    pub(in crate::metrics) value: Number,
}

type Labels = BTreeMap<String, String>;

/// What the key of an entry says.
#[derive(Debug)]
struct Key {
    family: String,
    suffix: &'static str,
    labels: Labels,
    help: String,
}

#[derive(Debug)]
struct Merged {
    kind: ApplicationKind,
    rule: Rule,
    help: String,
    /// By suffix and labels: the value, and its time.
    samples: BTreeMap<(Labels, &'static str), (f64, f64)>,
    /// By labels, without that of the bound: bounds, and how much is in each bucket alone.
    buckets: BTreeMap<Labels, Vec<(f64, f64)>>,
}

#[derive(Debug, Default)]
pub(super) struct Merger {
    families: BTreeMap<String, Merged>,
    /// The keys that were read, by kind and text, `None` for one that cannot be used: processes have the same ones.
    keys: HashMap<ApplicationKind, HashMap<String, Option<Rc<Key>>>>,
}

impl Merger {
    /// Adds what a file tells. What cannot be used of it is left out.
    ///
    /// # Errors
    ///
    /// The first reason for leaving something out.
    pub(super) fn add(&mut self, source: &Source, used: &[u8]) -> Result<(), &'static str> {
        let mut left_out = None;
        let whole = file::entries(used, |entry| {
            if let Err(reason) = self.add_entry(source, entry) {
                left_out.get_or_insert(reason);
            }
        });
        whole.and(left_out.map_or(Ok(()), Err))
    }

    fn add_entry(&mut self, source: &Source, entry: Entry<'_>) -> Result<(), &'static str> {
        let keys = self.keys.entry(source.kind).or_default();
        let key = if let Some(known) = keys.get(entry.key) {
            known.clone()
        } else {
            let read = Key::of(source.kind, entry.key).map(Rc::new);
            keys.insert(entry.key.to_owned(), read.clone());
            read
        };
        let key = key.ok_or("a name, a label or a suffix is none of Prometheus'")?;
        if key.family.starts_with(OURS) {
            return Err("names that begin with oxicorn_ are the server's");
        }
        let family = match self.families.get_mut(&key.family) {
            Some(family) => family,
            None => self.families.entry(key.family.clone()).or_insert(Merged {
                kind: source.kind,
                rule: source.rule,
                help: key.help.clone(),
                samples: BTreeMap::new(),
                buckets: BTreeMap::new(),
            }),
        };
        if (family.kind, family.rule) != (source.kind, source.rule) {
            return Err("processes have different kinds of metrics of one name");
        }
        family.add(source, &key, entry)
    }

    /// The metrics, by their names.
    pub(super) fn finish(self) -> Vec<ApplicationFamily> {
        let families = self.families.into_iter();
        families
            .map(|(name, merged)| ApplicationFamily {
                name,
                kind: merged.kind,
                help: merged.help.clone(),
                samples: merged.finish(),
            })
            .collect()
    }
}

impl Merged {
    fn add(&mut self, source: &Source, key: &Key, entry: Entry<'_>) -> Result<(), &'static str> {
        let Entry { value, time, .. } = entry;
        let mut labels = key.labels.clone();
        if key.suffix == "_bucket" {
            let bound = labels.remove("le").and_then(|bound| bound_of(&bound));
            let bound = bound.ok_or("a bucket has no bound")?;
            let buckets = self.buckets.entry(labels).or_default();
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, sum)) => *sum += value,
                None => buckets.push((bound, value)),
            }
            return Ok(());
        }
        if self.rule == Rule::Apart {
            labels.insert("pid".to_owned(), source.process.clone());
        }
        let place = self.samples.entry((labels, key.suffix));
        match self.rule {
            Rule::Sum => place.or_insert((0.0, 0.0)).0 += value,
            Rule::Least => {
                let least = &mut place.or_insert((value, 0.0)).0;
                if value < *least {
                    *least = value;
                }
            }
            Rule::Most => {
                let most = &mut place.or_insert((value, 0.0)).0;
                if value > *most {
                    *most = value;
                }
            }
            // One that was never set has no time.
            Rule::Newest if time > 0.0 => {
                let newest = place.or_insert((value, time));
                if time > newest.1 {
                    *newest = (value, time);
                }
            }
            Rule::Newest => {}
            Rule::Apart => place.or_default().0 = value,
        }
        Ok(())
    }

    fn finish(self) -> Vec<ApplicationSample> {
        let mut samples = Vec::new();
        let mut groups: BTreeMap<Labels, Vec<(&'static str, f64)>> = BTreeMap::new();
        for ((labels, suffix), (value, _)) in self.samples {
            // The buckets say how many there are.
            if self.kind != ApplicationKind::Histogram || suffix != "_count" {
                groups.entry(labels).or_default().push((suffix, value));
            }
        }
        for labels in self.buckets.keys() {
            groups.entry(labels.clone()).or_default();
        }
        for (labels, others) in groups {
            let mut buckets = self.buckets.get(&labels).cloned().unwrap_or_default();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let mut count = 0.0;
            for (bound, value) in &buckets {
                count += value;
                let mut labels = labels.clone();
                labels.insert("le".to_owned(), Number(*bound).to_string());
                samples.push(sample("_bucket", &labels, count));
            }
            if !buckets.is_empty() {
                samples.push(sample("_count", &labels, count));
            }
            samples.extend(
                others
                    .iter()
                    .map(|(suffix, value)| sample(suffix, &labels, *value)),
            );
        }
        samples
    }
}

fn sample(suffix: &'static str, labels: &Labels, value: f64) -> ApplicationSample {
    ApplicationSample {
        suffix,
        labels: labels.clone(),
        value: Number(value),
    }
}

impl Key {
    /// Reads `["name", "name_suffix", {"label": "value"}, "help"]`; `None` for what Prometheus could not read.
    fn of(kind: ApplicationKind, text: &str) -> Option<Self> {
        let json = Json::parse(text)?;
        let [family, name, Json::Object(labels), rest @ ..] = json.list() else {
            return None;
        };
        let (family, name) = (family.text()?, name.text()?);
        let suffixes: &[&str] = match kind {
            ApplicationKind::Counter => &["_total"],
            ApplicationKind::Gauge => &[""],
            ApplicationKind::Histogram => &["_bucket", "_sum", "_count"],
            ApplicationKind::Summary => &["_sum", "_count"],
        };
        let found = name.strip_prefix(family)?;
        let suffix = suffixes.iter().find(|suffix| **suffix == found)?;
        let labels: Option<Labels> = labels
            .iter()
            .map(|(label, value)| {
                let value = value.text().filter(|_| is_name(label, false))?;
                Some((label.clone(), value.to_owned()))
            })
            .collect();
        let help = rest.first().and_then(Json::text).unwrap_or_default();
        is_name(family, true).then_some(())?;
        Some(Self {
            family: family.to_owned(),
            suffix,
            labels: labels?,
            help: help.to_owned(),
        })
    }
}

/// Whether a text is a name of a metric, which may have colons, or of a label.
fn is_name(text: &str, colons: bool) -> bool {
    let is_letter = |c: u8| c.is_ascii_alphabetic() || c == b'_' || c == b':' && colons;
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_letter) && bytes.all(|c| is_letter(c) || c.is_ascii_digit())
}

/// The bound of a bucket, as the package writes it.
fn bound_of(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        _ => text.parse().ok().filter(|bound: &f64| !bound.is_nan()),
    }
}
