//! Manifests: which objects there are, found in YAML and JSON.
use octostack_core::config::{Document, Error, Item};
use std::path::Path;

/// All objects of all files.
pub(super) struct Manifest<'a> {
    objects: Vec<Object<'a>>,
}

/// An object of Kubernetes.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) item: Item<'a>,
}

/// What runs pods.
#[derive(Clone, Copy)]
pub(super) struct Workload<'a> {
    pub(super) object: Object<'a>,
    /// Labels of its pods.
    labels: Option<Item<'a>>,
    /// The spec of its pods.
    pub(super) pod: Item<'a>,
}

/// Reads the documents of one file.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Document>, Box<Error>> {
    Document::read(text, path)
}

/// What `keys` lead to.
pub(super) fn at<'a>(item: Item<'a>, keys: &[&str]) -> Option<Item<'a>> {
    keys.iter().try_fold(item, |item, key| item.get(key))
}

/// The text that `keys` lead to.
pub(super) fn text<'a>(item: Item<'a>, keys: &[&str]) -> Option<&'a str> {
    at(item, keys)?.text()
}

/// The items of the list that `keys` lead to.
pub(super) fn list<'a>(item: Item<'a>, keys: &[&str]) -> impl Iterator<Item = Item<'a>> {
    at(item, keys).into_iter().flat_map(Item::items)
}

impl<'a> Manifest<'a> {
    pub(super) fn new(documents: &'a [Document]) -> Self {
        let mut objects = Vec::new();
        for document in documents {
            collect(document.root(), &mut objects);
        }
        Self { objects }
    }

    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = Object<'a>> {
        self.objects.iter().filter(move |object| object.kind == kind).copied()
    }

    /// The object with this kind and name.
    pub(super) fn find(&self, kind: &str, name: &str) -> Option<Object<'a>> {
        self.of_kind(kind).find(|object| object.name == name)
    }

    pub(super) fn workloads(&self) -> Vec<Workload<'a>> {
        self.objects.iter().filter_map(Object::workload).collect()
    }
}

fn collect<'a>(item: Item<'a>, objects: &mut Vec<Object<'a>>) {
    let Some(kind) = text(item, &["kind"]) else { return };
    if kind == "List" || (kind.ends_with("List") && item.get("items").is_some()) {
        list(item, &["items"]).for_each(|item| collect(item, objects));
        return;
    }
    let name = text(item, &["metadata", "name"]).unwrap_or("without a name");
    objects.push(Object { kind, name, item });
}

impl<'a> Object<'a> {
    fn workload(&self) -> Option<Workload<'a>> {
        let pod: &[&str] = match self.kind {
            "Pod" => &[],
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                &["spec", "template"]
            }
            "CronJob" => &["spec", "jobTemplate", "spec", "template"],
            _ => return None,
        };
        let pod = at(self.item, pod)?;
        let labels = at(pod, &["metadata", "labels"]);
        Some(Workload { object: *self, labels, pod: pod.get("spec")? })
    }
}

impl<'a> Workload<'a> {
    pub(super) fn containers(&self) -> impl Iterator<Item = Item<'a>> {
        list(self.pod, &["containers"])
    }

    /// Whether it serves, rather than ends.
    pub(super) fn serves(&self) -> bool {
        !matches!(self.object.kind, "Job" | "CronJob")
    }

    /// Whether the Service `service` sends its traffic here.
    pub(super) fn is_selected_by(&self, service: Object<'_>) -> bool {
        let selector = at(service.item, &["spec", "selector"]).into_iter();
        let mut wanted = selector.flat_map(Item::entries).peekable();
        let has = |(key, value): (&str, Item<'_>)| {
            let label = self.labels.and_then(|labels| labels.get(key));
            value.text().is_some() && label.and_then(Item::text) == value.text()
        };
        wanted.peek().is_some() && wanted.all(has)
    }
}
