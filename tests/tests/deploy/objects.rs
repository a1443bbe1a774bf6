//! Objects of Kubernetes, and in what two sets of them differ.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Objects by kind and name, each with its values by their paths.
#[derive(Debug)]
pub(crate) struct Objects(BTreeMap<String, BTreeMap<String, Value>>);

/// What is in one set and not in the other: an object, or a value of one; and why that is right.
pub(crate) type Difference = (&'static str, &'static str);

/// What the API server and its controllers write.
const NOT_APPLIED: [&str; 10] = [
    "/status",
    "/metadata/creationTimestamp",
    "/metadata/generation",
    "/metadata/managedFields",
    "/metadata/resourceVersion",
    "/metadata/uid",
    "/metadata/annotations/deployment.kubernetes.io~revision",
    "/metadata/annotations/deprecated.daemonset.template.generation",
    "/metadata/annotations/kubectl.kubernetes.io~last-applied-configuration",
    "/spec/clusterIP",
];

impl Objects {
    /// Those of documents of YAML.
    pub(crate) fn from_yaml(text: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("no YAML")?;
        Self::new(documents.into_iter().filter(|document| !document.is_null()))
    }

    pub(crate) fn new(objects: impl IntoIterator<Item = Value>) -> Result<Self> {
        let mut all = BTreeMap::new();
        for object in objects {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let kind = text(&object["kind"]).context("an object without a kind")?;
            let name = text(&object["metadata"]["name"]).context("an object without a name")?;
            let mut values = BTreeMap::new();
            flatten(&object, String::new(), &mut values);
            values.retain(|path, _| !NOT_APPLIED.iter().any(|not| path.starts_with(not)));
            let title = format!("{kind}/{name}");
            ensure!(
                all.insert(title.clone(), values).is_none(),
                "{title} is there twice"
            );
        }
        Ok(Self(all))
    }

    /// A value of an object.
    pub(crate) fn get(&self, title: &str, path: &str) -> Result<&Value> {
        let values = self.0.get(title).with_context(|| format!("no {title}"))?;
        let value = values.get(path);
        value.with_context(|| format!("no {path} in {title}: {values:#?}"))
    }

    /// The names of all.
    pub(crate) fn titles(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Sees to it that these differ from others in what is known, and in nothing else. `*` stands for anything, once.
    pub(crate) fn differ_only_in(&self, others: &Self, known: &[Difference]) -> Result<()> {
        let found = self.differences(others);
        let is = |known: &str, found: &str| match known.split_once('*') {
            Some((start, end)) => found.starts_with(start) && found.ends_with(end),
            None => found == known,
        };
        let unknown: Vec<_> = found
            .iter()
            .filter(|found| !known.iter().any(|(known, _)| is(known, found)))
            .collect();
        let not_so: Vec<_> = known
            .iter()
            .filter(|(known, _)| !found.iter().any(|found| is(known, found)))
            .collect();
        ensure!(
            unknown.is_empty() && not_so.is_empty(),
            "not known: {unknown:#?}\nknown, and not so: {not_so:#?}"
        );
        Ok(())
    }

    fn differences(&self, others: &Self) -> BTreeSet<String> {
        let titles = self.0.keys().chain(others.0.keys());
        titles
            .flat_map(|title| match (self.0.get(title), others.0.get(title)) {
                (Some(one), Some(other)) => one
                    .keys()
                    .chain(other.keys())
                    .filter(|path| one.get(*path) != other.get(*path))
                    .map(|path| format!("{title}{path}"))
                    .collect(),
                _ => vec![title.clone()],
            })
            .collect()
    }
}

/// All that is not a map. Parts of a list that have names go by them; a list of plain values is one value.
fn flatten(value: &Value, path: String, into: &mut BTreeMap<String, Value>) {
    let below = |key: &str| format!("{path}/{}", key.replace('/', "~"));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                flatten(field, below(key), into);
            }
        }
        Value::Array(parts) if parts.iter().any(Value::is_object) => {
            for (number, part) in parts.iter().enumerate() {
                let name = part["name"].as_str();
                flatten(part, below(name.unwrap_or(&number.to_string())), into);
            }
        }
        _ => {
            into.insert(path, value.clone());
        }
    }
}
