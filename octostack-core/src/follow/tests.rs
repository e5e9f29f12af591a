use super::*;
use std::sync::{Mutex, mpsc};

/// Ends when the file system is to answer.
static GONE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

#[tokio::test(start_paused = true)]
async fn a_file_system_that_hangs_is_a_failure_until_it_answers() {
    let (gone, until_back) = mpsc::channel();
    *GONE.lock().unwrap() = Some(until_back);
    let mut follower = Follower::new("/hung");
    follower.how = |_, _| {
        let until_back = GONE.lock().unwrap().take();
        until_back.map(|back| back.recv());
        Ok(b"back".to_vec())
    };
    let next = tokio::spawn(async move {
        let news = follower.next().await;
        (follower, news)
    });
    // While a thread blocks, time stands still unless it is moved.
    tokio::task::yield_now().await;
    tokio::time::advance(PATIENCE).await;
    tokio::task::yield_now().await;
    assert!(!next.is_finished(), "one look is none");
    tokio::time::advance(PATIENCE).await;
    let (mut follower, news) = next.await.unwrap();
    let News::Failed(error) = news else { panic!("{news:?}") };
    let expected = "/hung cannot be read: its file system has not answered for 10s";
    assert_eq!(error.to_string(), expected);
    assert!(follower.looking.is_some(), "no second thread hangs beside the first");

    drop(gone);
    let news = follower.next().await;
    assert!(matches!(&news, News::Changed(content) if content == b"back"), "{news:?}");
}

#[test]
fn news_does_not_print_what_may_be_a_secret() {
    assert_eq!(format!("{:?}", News::Changed(b"token".to_vec())), "Changed(5 bytes)");
}
