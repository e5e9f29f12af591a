//! A probe, from the request to its answer, without the socket.
use crate::median;
use crate::table::Table;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use octostack_core::health::{Health, Probe, Probes};
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
use octostack_core::{Clock as _, Registry, SystemClock};
use std::hint::black_box;

const ROUNDS: usize = 15;
const CALLS: u32 = 200_000;

pub(crate) fn measure(table: &mut Table) {
    let registry = Registry::new();
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    lifecycle.ready();
    let probes = Probes::new(&lifecycle, &Health::new(&registry));

    row(table, "whether `/readyz` passes", || {
        black_box(black_box(&probes).passes(Probe::Ready));
    });

    let mut request = Request::get("/readyz").body(()).unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(6);
    row(table, "the answer to `/readyz`", || {
        // As hyper does it, which reads the next request into the map of the last answer.
        *request.headers_mut() = std::mem::take(&mut headers);
        let answer: Option<Response<Full<Bytes>>> = black_box(&probes).reply(&mut request);
        headers = answer.map(|answer| black_box(answer).into_parts().0.headers).unwrap_or_default();
    });
}

fn row(table: &mut Table, what: &str, mut call: impl FnMut()) {
    let mut rounds: Vec<f64> = Vec::new();
    for _ in 0..ROUNDS {
        let start = SystemClock.now();
        for _ in 0..CALLS {
            call();
        }
        rounds.push((SystemClock.now() - start).as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    let middle = median(&mut rounds);
    let range = format!("{:.0} to {:.0} ns", rounds[0], rounds[rounds.len() - 1]);
    table.add(what, format!("{middle:.0} ns"), range, "2 µs");
}
