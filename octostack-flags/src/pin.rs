//! One world of flags for a request.
use crate::context::Context;
use crate::snapshot::{Evaluation, Snapshot};
use octostack_core::dynamic::Versioned;
use octostack_core::inspect::Value;
use octostack_core::sync::Arc;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::SystemTime;

/// A snapshot with its generation.
pub(crate) type Current = Arc<Versioned<Snapshot>>;

/// A snapshot of all flags, and for whom they are evaluated: what a request keeps from its
/// beginning to its end. Made by [`Flags::pin`](crate::Flags::pin).
///
/// A reload in the middle of a request does not reach it, so that a request never sees one half of
/// a change.
#[derive(Clone)]
pub struct Pinned {
    snapshot: Current,
    context: Context,
    /// `$flagd.timestamp`: seconds since 1970, or 0 where no rule asks for it.
    timestamp: i64,
}

impl Pinned {
    pub(crate) fn new(snapshot: Current, context: Context) -> Self {
        let timestamp = if snapshot.needs_time() { seconds_since_1970() } else { 0 };
        Self { snapshot, context, timestamp }
    }

    /// The flags as they are for this request.
    pub fn snapshot(&self) -> &Current {
        &self.snapshot
    }

    /// For whom they are evaluated.
    pub fn context(&self) -> &Context {
        &self.context
    }

    #[inline]
    pub(crate) const fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Runs `work` with this as the flags of the current request: flags that it reads see this
    /// snapshot and this context.
    ///
    /// For code that is no Tower service. Do not await in it: a future needs [`carry`].
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        let mut pinned = Some(self);
        let _entered = Entered::new(&mut pinned);
        work()
    }

    /// Evaluates the flag `key`, whether the code declares it or not, and counts that.
    pub fn evaluate(&self, key: &str) -> Evaluation<'_> {
        let slot = self.snapshot.index(key).and_then(|index| self.snapshot.slot(index));
        let Some(slot) = slot else {
            self.snapshot.count_unknown();
            return Evaluation::UNKNOWN;
        };
        let resolution = self.snapshot.resolve(slot, &self.context, self.timestamp);
        slot.count(resolution);
        Evaluation::new(slot, resolution)
    }

    /// As [`evaluate`](Self::evaluate), with what the rule did as a tree, and without counting.
    /// `None` if no flag has this key.
    pub fn explain(&self, key: &str) -> Option<(Evaluation<'_>, Value)> {
        let slot = self.snapshot.slot(self.snapshot.index(key)?)?;
        let (resolution, steps) = self.snapshot.explain(slot, &self.context, self.timestamp);
        Some((Evaluation::new(slot, resolution), steps))
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("generation", &self.snapshot.generation)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

fn seconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

thread_local! {
    /// The request that this thread is working on at the moment. A future puts its own in for the
    /// time of each poll: 9 ns against 34 for a task-local of the runtime, and no runtime.
    static CURRENT: RefCell<Option<Pinned>> = const { RefCell::new(None) };
}

/// While it lives, `pinned` is that of the current request, and what was before is in its place.
pub(crate) struct Entered<'a> {
    pinned: &'a mut Option<Pinned>,
}

impl<'a> Entered<'a> {
    #[inline]
    pub(crate) fn new(pinned: &'a mut Option<Pinned>) -> Self {
        swap(pinned);
        Self { pinned }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.pinned);
    }
}

#[inline]
fn swap(pinned: &mut Option<Pinned>) {
    // Nobody holds the cell while code of others runs, and a thread that is ending has no
    // request: so neither fails where it matters.
    let _ = CURRENT.try_with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::swap(&mut *current, pinned);
        }
    });
}

/// Runs `work` with the current request, if there is one. `work` must not run code of others.
#[inline]
pub(crate) fn with_current<T>(work: impl Fn(Option<&Pinned>) -> T) -> T {
    let result = CURRENT.try_with(|current| match current.try_borrow() {
        Ok(current) => work(current.as_ref()),
        Err(_) => work(None),
    });
    result.unwrap_or_else(|_| work(None)) // the thread is ending
}

/// The flags of the current request, if there is one.
pub fn current() -> Option<Pinned> {
    with_current(|pinned| Some(pinned?.clone()))
}

/// Says for whom flags are evaluated from here to the end of the request: for a handler that
/// learns only now who the user is. Returns whether there is a request.
///
/// What was evaluated before stays as it was.
pub fn set_targeting_key(key: impl Into<Cow<'static, str>>) -> bool {
    let key = key.into();
    change(|context| context.set_targeting_key(key))
}

/// Sets an attribute from here to the end of the request. Returns whether there is a request.
pub fn set_attribute(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> bool {
    let (name, value) = (name.into(), value.into());
    change(|context| context.set(name, value))
}

/// `work` must not run code of others.
fn change(work: impl FnOnce(&mut Context)) -> bool {
    let changed = CURRENT.try_with(|current| {
        let Ok(mut current) = current.try_borrow_mut() else {
            return false;
        };
        current.as_mut().map(|pinned| work(&mut pinned.context)).is_some()
    });
    changed.unwrap_or(false)
}

/// Takes the flags of the current request along: into a task that is spawned, or past the end of
/// the request.
///
/// ```
/// # use octostack_flags::{self as flags, Context, Flags};
/// flags::flags! {
///     /// Prices in the new way.
///     NEW_PRICES: bool = false, kind = release, owner = "shop", expires = "2027-03-01";
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let flags = Flags::builder().build();
/// let task = flags.pin(Context::new()).scope(|| {
///     tokio::spawn(flags::carry(async { NEW_PRICES.get() }))
/// });
/// assert!(!task.await.unwrap());
/// # }
/// ```
pub fn carry<F: Future>(future: F) -> Carried<F> {
    Carried { future, pinned: current() }
}

pin_project! {
    /// The future of [`carry`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Carried<F> {
        #[pin]
        future: F,
        pinned: Option<Pinned>,
    }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::new(this.pinned);
        this.future.poll(cx)
    }
}
