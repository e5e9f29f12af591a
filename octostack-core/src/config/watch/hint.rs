//! What the system tells of changes in directories: a reason to look, and no more than that.

use std::path::Path;

/// Changes in directories. Where it cannot be had, it never tells of any.
pub(super) struct Hint {
    #[cfg(target_os = "linux")]
    source: Option<linux::Source>,
    missing: Option<String>,
}

impl Hint {
    pub(super) fn new() -> Self {
        #[cfg(target_os = "linux")]
        return match linux::Source::new() {
            Ok(source) => Self { source: Some(source), missing: None },
            Err(error) => Self::none(format!("inotify cannot be used: {error}")),
        };
        #[cfg(not(target_os = "linux"))]
        Self::none("this system has no inotify")
    }

    /// No hints, and why.
    pub(super) fn none(why: impl Into<String>) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            source: None,
            missing: Some(why.into()),
        }
    }

    /// Listens for changes in these directories too.
    pub(super) fn watch<'a>(&mut self, directories: impl Iterator<Item = &'a Path>) {
        #[cfg(target_os = "linux")]
        if let Some(source) = &mut self.source {
            self.missing = source.watch(directories).err();
        }
        #[cfg(not(target_os = "linux"))]
        let _ = directories;
    }

    /// Waits for the next change. Dropping the future loses none.
    pub(super) async fn heard(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(source) = &mut self.source {
            match source.heard().await {
                Ok(()) => return,
                Err(error) => *self = Self::none(format!("inotify has failed: {error}")),
            }
        }
        std::future::pending::<()>().await;
    }

    pub(super) fn status(&self) -> String {
        match &self.missing {
            None => "inotify".to_owned(),
            Some(why) => format!("none: {why}"),
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use futures_core::Stream;
    use inotify::{EventStream, Inotify, WatchMask};
    use std::collections::BTreeSet;
    use std::future::poll_fn;
    use std::io;
    use std::path::Path;
    use std::pin::Pin;
    use std::task::Poll;

    pub(super) struct Source {
        events: EventStream<[u8; 4096]>,
    }

    impl Source {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self { events: Inotify::init()?.into_event_stream([0; 4096])? })
        }

        /// Says how many cannot be watched, and why. Not which: where the path of a secret belongs,
        /// somebody may have written the secret. A directory that is not there is no reason to say
        /// so: it is looked for all the same.
        pub(super) fn watch<'a>(
            &mut self,
            directories: impl Iterator<Item = &'a Path>,
        ) -> Result<(), String> {
            let mask = WatchMask::CREATE
                | WatchMask::CLOSE_WRITE
                | WatchMask::DELETE
                | WatchMask::MOVE
                | WatchMask::ATTRIB
                | WatchMask::ONLYDIR;
            let mut watches = self.events.watches();
            let directories: BTreeSet<_> = directories.collect();
            let failed = directories.iter().filter_map(|dir| {
                let named = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
                // A directory that is watched already stays so.
                watches.add(named, mask).err().filter(|error| !is_missing(error))
            });
            let failed: Vec<_> = failed.collect();
            let Some(error) = failed.first() else { return Ok(()) };
            let (failed, all) = (failed.len(), directories.len());
            Err(format!("{failed} of {all} directories cannot be watched: {error}"))
        }

        /// All that there is to hear by now is one hint.
        pub(super) async fn heard(&mut self) -> io::Result<()> {
            let mut heard = false;
            poll_fn(|cx| {
                loop {
                    match Pin::new(&mut self.events).poll_next(cx) {
                        Poll::Ready(Some(Ok(_))) => heard = true,
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                        Poll::Ready(None) => {
                            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                        }
                        Poll::Pending if heard => return Poll::Ready(Ok(())),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await
        }
    }

    fn is_missing(error: &io::Error) -> bool {
        use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
        matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
    }
}
