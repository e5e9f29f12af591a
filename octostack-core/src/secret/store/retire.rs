//! The end of an old version: valid until nobody holds it, then revoked.

use super::Core;
use super::cell::{Cell, Held};
use super::driver::{in_time, until, within};
use super::notes::Note;
use super::version::Known;
use crate::secret::life::{Life, Task};
use crate::secret::provider::{LeaseId, ProviderErrorKind, SecretProvider};
use crate::{Clock, SystemClock};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often revoking is tried. A lease that could not be revoked ends by itself.
const ATTEMPTS: u32 = 3;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until nobody holds the version, or its time is over; keeps its lease alive meanwhile. One
/// that was given up before its time is waited for, and revoked, all the same.
pub(super) async fn retire(
    core: Arc<Core>,
    cell: Arc<Cell>,
    provider: Arc<dyn SecretProvider>,
    old: Held,
    mut life: Life,
) {
    let Held { version, known, lease, mut dropped } = old;
    let reads = known.reads.load(Ordering::Relaxed);
    let note = Note::new("retire", &cell.source)
        .version(known.number, known.provider_version.as_deref())
        .reads(reads);
    core.notes.note(&note);
    drop(version);
    let Some(lease) = lease else { return };
    cell.with(|state| state.retired += 1);
    life.retire();
    let mut closed = pin!(core.closed());
    let mut told = false;
    let ended = loop {
        let next = life.next();
        let increment = tokio::select! {
            biased;
            _ = &mut dropped => break false,
            () = &mut closed => break false,
            () = until(life.expires()), if !told => {
                told = true;
                tell_in_use(&core, &cell, &known);
                if life.given_up() {
                    continue;
                }
                break true;
            }
            () = until(next.map(|(at, _)| at)) => match next {
                Some((_, Task::Renew(increment))) => increment,
                _ => continue,
            },
        };
        let limit = in_time(core.timeout, life.expires());
        let renewed = within(limit, || provider.renew(&lease, increment)).await;
        let now = SystemClock.now();
        match renewed {
            Ok(renewed) => life.renewed(now, renewed.ttl, renewed.renewable, fastrand::f64()),
            Err(error) => {
                let (kind, after) = (error.kind(), error.retry_after());
                life.renewal_failed(now, kind, after, fastrand::f64());
            }
        }
        *crate::sync::lock(&known.expires) = life.expires();
        life.retire();
    };
    if !ended && !cell.is_of(&lease) {
        let version = (known.number, known.provider_version.as_deref());
        revoke(&core, &cell, &*provider, &lease, version).await;
    }
    cell.with(|state| state.retired -= 1);
}

/// Tells that it is over while somebody holds it.
fn tell_in_use(core: &Core, cell: &Cell, known: &Known) {
    let what = format!("version {} has ended while somebody uses it still", known.number);
    let note = Note::new("expire", &cell.source)
        .version(known.number, known.provider_version.as_deref())
        .over(&what);
    core.notes.note(&note);
    core.emit("secret_expired_in_use", &cell.source, what);
}

async fn revoke(
    core: &Core,
    cell: &Cell,
    provider: &dyn SecretProvider,
    lease: &LeaseId,
    version: (u64, Option<&str>),
) {
    let note =
        || Note::new("revoke", &cell.source).version(version.0, version.1).lease(Some(lease));
    for attempt in 1..=ATTEMPTS {
        let error = match within(core.timeout, || provider.revoke(lease)).await {
            Ok(()) => return core.notes.note(&note()),
            // It is what was wanted.
            Err(error) if error.kind() == ProviderErrorKind::Gone => {
                return core.notes.note(&note());
            }
            Err(error) => error,
        };
        core.notes.note(&note().failed(&error));
        let last = attempt == ATTEMPTS
            || error.kind() != ProviderErrorKind::Unavailable
            || *core.closing.borrow();
        if last {
            let what = format!("version {} was not revoked: {}", version.0, error.message());
            return core.emit("secret_revoke_failed", &cell.source, what);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = core.closed() => {}
        }
    }
}
