use super::capture::{Captured, Recorder, Said};
use super::line::{LINE_LIMIT, Style};
use super::{LogFormat, TelemetryConfig, UserIds};
use octostack_core::Identity;
use octostack_core::inspect::{Inspect, Metric, Sink, Value};
use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Writes each event as one line; see the [module docs](super).
///
/// [`builder`](super::builder) puts it into a subscriber with a filter. Take the layer alone to
/// combine it with layers of others.
#[derive(Debug)]
pub struct LogLayer<W = fn() -> io::Stdout> {
    style: Style,
    user_ids: UserIds,
    output: Arc<Output<W>>,
}

impl LogLayer {
    /// A layer that writes to standard output.
    pub fn new(identity: &Identity, config: &TelemetryConfig) -> Self {
        Self::with_writer(identity, config, io::stdout)
    }
}

impl<W> LogLayer<W> {
    /// A layer that writes to what `writer` makes, each line by one call.
    pub fn with_writer(identity: &Identity, config: &TelemetryConfig, writer: W) -> Self {
        let terminal = io::stdout().is_terminal();
        let style = match config.log_format {
            LogFormat::Auto if terminal => Style::Pretty { color: true },
            LogFormat::Auto | LogFormat::Json => Style::json(identity),
            LogFormat::Pretty => Style::Pretty { color: terminal },
        };
        Self {
            style: style
                .without_color_if(std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())),
            user_ids: config.user_ids,
            output: Arc::new(Output { writer, lost: AtomicU64::new(0) }),
        }
    }

    /// Where it writes and what was lost there: an item for an inspection registry.
    pub fn output(&self) -> &Arc<Output<W>> {
        &self.output
    }
}

/// Where log lines go, and how many could not be written.
///
/// Entered in a [`Registry`](octostack_core::Registry) it counts into
/// `octostack_telemetry_dropped_total{signal="logs"}`.
pub struct Output<W> {
    writer: W,
    lost: AtomicU64,
}

impl<W> Output<W> {
    /// How many lines could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl<W: for<'a> MakeWriter<'a>> Output<W> {
    fn write(&self, meta: &tracing::Metadata<'_>, line: &str) {
        // One call for the whole line: that is what keeps lines of several threads apart.
        let written = self.writer.make_writer_for(meta).write_all(line.as_bytes());
        if written.is_err() {
            // There is nowhere left to say it but the counter.
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands on what the writer may hold back.
    pub(super) fn flush(&self) {
        if self.writer.make_writer().flush().is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<W> fmt::Debug for Output<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

static DROPPED: Metric = Metric::counter(
    "octostack_telemetry_dropped_total",
    "Telemetry that was lost, such as log lines that could not be written.",
);

impl<W: Send + Sync> Inspect for Output<W> {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn kind(&self) -> &'static str {
        "telemetry"
    }

    fn status(&self) -> Value {
        Value::map([("lost", self.lost().into())])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        sink.sample(&DROPPED, &[("signal", "logs")], self.lost() as f64);
    }
}

/// What an event needs to become a line. Kept by each thread, so that logging allocates nothing
/// once the buffers have grown.
#[derive(Default)]
struct Scratch {
    said: Said,
    all: Captured,
    line: String,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs `work` with the buffers of this thread. They are taken out meanwhile: a `Debug` that logs
/// while it is logged gets new ones, and so does a thread that is about to end.
fn with_scratch(work: impl FnOnce(&mut Scratch)) {
    let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
    work(&mut scratch);
    if scratch.line.capacity() <= 2 * LINE_LIMIT {
        scratch.said.clear();
        scratch.all.clear();
        scratch.line.clear();
        let _ = SCRATCH.try_with(|slot| slot.set(Some(scratch)));
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        with_scratch(|Scratch { all, .. }| {
            attributes.record(&mut self.recorder(all, None));
            if let Some(span) = ctx.span(id) {
                // A copy is as large as it has to be. It replaces what a second layer of this kind
                // has stored, which is the same.
                span.extensions_mut().replace(all.clone());
            }
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        with_scratch(|Scratch { all, .. }| {
            // Before the lock: values print themselves, and one that logs would wait for it.
            values.record(&mut self.recorder(all, None));
            let Some(span) = ctx.span(id) else { return };
            if let Some(fields) = span.extensions_mut().get_mut::<Captured>() {
                fields.update(all);
            }
        });
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        with_scratch(|Scratch { said, all, line }| {
            event.record(&mut self.recorder(all, Some(said)));
            for span in ctx.event_scope(event).into_iter().flatten() {
                if let Some(fields) = span.extensions().get::<Captured>() {
                    all.inherit(fields);
                }
            }
            self.style.write(line, event.metadata(), said, all);
            self.output.write(event.metadata(), line);
        });
    }
}

impl<W> LogLayer<W> {
    fn recorder<'a>(&self, to: &'a mut Captured, said: Option<&'a mut Said>) -> Recorder<'a> {
        Recorder { to, said, user_ids: self.user_ids }
    }
}

#[cfg(test)]
mod tests {
    use super::{LogLayer, Output, Style};
    use crate::logs::UserIds;
    use std::io;
    use std::sync::atomic::AtomicU64;
    use std::sync::{Arc, Mutex, PoisonError};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(text)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pretty(color: bool, no_color: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let layer = LogLayer {
            style: Style::Pretty { color }.without_color_if(no_color),
            user_ids: UserIds::Plain,
            output: Arc::new(Output { writer: move || writer.clone(), lost: AtomicU64::new(0) }),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(target: "t", path = "\u{1b}[2J", "gone");
        });
        let text = page.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn colours_are_ours_alone() {
        let text = pretty(true, false);
        let colours = "\u{1b}[31mERROR\u{1b}[0m \u{1b}[2mt:\u{1b}[0m gone \u{1b}[2mpath=\u{1b}[0m";
        assert!(text.contains(colours), "{text:?}");
        assert!(text.ends_with("\\u001b[2J\n"), "{text:?}");
        for plain in [pretty(true, true), pretty(false, false)] {
            assert!(plain.ends_with(" ERROR t: gone path=\\u001b[2J\n"), "{plain:?}");
            assert!(!plain.contains('\u{1b}'), "{plain:?}");
        }
    }
}
