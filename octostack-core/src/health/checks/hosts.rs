//! Services with several hosts, of which one that answers is enough.
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How long a host may be silent before the next one is asked as well: one whose machine is gone
/// refuses nothing.
const NEXT: Duration = Duration::from_millis(500);

/// A question to one host.
pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Asks the first host, and the others if that fails or is silent. Dropping it ends them all.
///
/// # Errors
/// What each of them said, if none answered well.
pub(super) async fn any_of(attempts: Vec<Attempt<'_>>) -> Result<(), String> {
    let mut waiting = attempts.into_iter().enumerate();
    let (mut asked, mut failed) = (Vec::new(), Vec::new());
    loop {
        asked.extend(waiting.next());
        if asked.is_empty() {
            failed.sort_unstable(); // in the order of the hosts
            let failed: Vec<String> = failed.into_iter().map(|(_, why)| why).collect();
            return Err(failed.join("; "));
        }
        tokio::select! {
            (number, result) = first(&mut asked) => match result {
                Ok(()) => return Ok(()),
                Err(why) => failed.push((number, why)),
            },
            () = tokio::time::sleep(NEXT), if waiting.len() > 0 => {}
        }
    }
}

/// The first of them that has a result, which is one of them no more.
async fn first(asked: &mut Vec<(usize, Attempt<'_>)>) -> (usize, Result<(), String>) {
    std::future::poll_fn(|cx| {
        for at in 0..asked.len() {
            if let Poll::Ready(result) = asked[at].1.as_mut().poll(cx) {
                return Poll::Ready((asked.remove(at).0, result));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    fn after(millis: u64, result: Result<(), &'static str>) -> Attempt<'static> {
        Box::pin(async move {
            sleep(Duration::from_millis(millis)).await;
            result.map_err(str::to_owned)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_host_is_waited_for_while_the_next_is_asked() {
        let start = Instant::now();
        let never = || after(3_600_000, Ok(()));
        let unasked = || -> Attempt<'static> {
            Box::pin(std::future::poll_fn(|_| panic!("nobody needs it")))
        };
        assert_eq!(any_of(vec![after(400, Ok(())), unasked()]).await, Ok(()));
        assert_eq!(any_of(vec![never(), after(10, Ok(())), unasked()]).await, Ok(()));
        assert_eq!(any_of(vec![after(600, Ok(())), never()]).await, Ok(()));
        assert_eq!(start.elapsed(), Duration::from_millis(400 + 510 + 600));
        let bad = vec![after(700, Err("a")), after(10, Err("b")), after(10, Err("c"))];
        assert_eq!(any_of(bad).await, Err("a; b; c".to_owned()));
    }
}
