use super::capture::{Captured, Recorder, Said};
use super::line::{LINE_LIMIT, Origin, Style};
use super::output::Output;
use super::quiet::is_quiet;
use super::{LogFormat, TelemetryConfig, UserIds};
use crate::trace::place;
use octostack_core::Identity;
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
#[cfg(feature = "http")]
use tracing::Dispatch;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
#[cfg(feature = "http")]
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Writes each event as one line; see the [module docs](super).
///
/// [`builder`](super::builder) puts it into a subscriber with a filter. Take the layer alone to
/// combine it with layers of others.
#[derive(Debug)]
pub struct LogLayer {
    style: Arc<Style>,
    user_ids: UserIds,
    output: Arc<Output>,
}

impl LogLayer {
    /// A layer that writes to standard output.
    ///
    /// # Errors
    /// If the thread that writes cannot be started.
    pub fn new(identity: &Identity, config: &TelemetryConfig) -> io::Result<Self> {
        Self::with_writer(identity, config, io::stdout())
    }

    /// A layer that writes to `writer`, each line by one call, from a thread of its own. It is
    /// flushed whenever no line waits, so a buffer of its own delays none.
    ///
    /// # Errors
    /// If that thread cannot be started.
    pub fn with_writer<W>(
        identity: &Identity,
        config: &TelemetryConfig,
        writer: W,
    ) -> io::Result<Self>
    where
        W: Write + Send + 'static,
    {
        let terminal = io::stdout().is_terminal();
        let style = match config.log_format {
            LogFormat::Auto if terminal => Style::Pretty { color: true },
            LogFormat::Auto | LogFormat::Json => Style::json(identity),
            LogFormat::Pretty => Style::Pretty { color: terminal },
        };
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self::with_style(style.without_color_if(no_color), config.user_ids, writer)
    }

    fn with_style<W>(style: Style, user_ids: UserIds, writer: W) -> io::Result<Self>
    where
        W: Write + Send + 'static,
    {
        let style = Arc::new(style);
        let output = Arc::new(Output::start(writer, Arc::clone(&style))?);
        Ok(Self { style, user_ids, output })
    }

    /// Where it writes and what was lost there: an item for an inspection registry.
    pub fn output(&self) -> &Arc<Output> {
        &self.output
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

/// How the targets of our own spans begin.
const OURS: &str = "octostack::";

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

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        with_scratch(|Scratch { all, .. }| {
            let ours = attributes.metadata().target().starts_with(OURS);
            attributes.record(&mut Recorder { ours, ..self.recorder(all, None) });
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
        if is_quiet() {
            return;
        }
        with_scratch(|Scratch { said, all, line }| {
            event.record(&mut self.recorder(all, Some(said)));
            for span in ctx.event_scope(event).into_iter().flatten() {
                let extensions = span.extensions();
                all.locate(place(&extensions));
                if let Some(fields) = extensions.get::<Captured>() {
                    all.inherit(fields);
                }
            }
            self.style.write(line, Origin::of(event.metadata()), said, all);
            self.output.write(line);
            if said.fatal {
                self.output.flush_last_word();
            }
        });
    }
}

/// The ids of a span: of its trace, and of its request. None if it has ended.
#[cfg(feature = "http")]
pub(super) fn ids_of(dispatch: &Dispatch, id: &Id) -> Option<(Option<String>, Option<String>)> {
    let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
    let extensions = span.extensions();
    let trace_id = place(&extensions).map(|place| place.trace_id().to_string());
    let fields = extensions.get::<Captured>();
    let request_id = fields.map(|fields| fields.correlation_id.clone()).filter(|id| !id.is_empty());
    Some((trace_id, request_id))
}

impl LogLayer {
    fn recorder<'a>(&self, to: &'a mut Captured, said: Option<&'a mut Said>) -> Recorder<'a> {
        Recorder { to, said, user_ids: self.user_ids, ours: false }
    }
}

#[cfg(test)]
mod tests {
    use super::{LogLayer, Style};
    use crate::logs::UserIds;
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;
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
        let style = Style::Pretty { color }.without_color_if(no_color);
        let layer = LogLayer::with_style(style, UserIds::Plain, page.clone()).unwrap();
        let output = Arc::clone(layer.output());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(target: "t", path = "\u{1b}[2J", "gone");
        });
        assert!(output.flush(Duration::from_secs(30)));
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
