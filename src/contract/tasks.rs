//! Admin tasks in the document.
use super::Contract;
use crate::AdminTask;
use serde::Serialize;

/// Something that an operator runs once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Task {
    name: &'static str,
    doc: &'static str,
    /// Whether one instance of it runs at a time.
    exclusive: bool,
    #[serde(skip)]
    on_file: bool,
}

impl Contract {
    /// Whether one of them needs a file that can be locked.
    pub(super) fn locks_files(&self) -> bool {
        self.tasks.iter().any(|task| task.on_file)
    }

    /// Adds what can be run once.
    pub(crate) fn with_tasks<S>(mut self, tasks: &[AdminTask<S>]) -> Self {
        let task = |task: &AdminTask<S>| Task {
            name: task.name(),
            doc: task.about(),
            exclusive: task.is_exclusive(),
            on_file: task.locks_file(),
        };
        self.tasks = tasks.iter().map(task).collect();
        self
    }
}
