//! Evaluation of feature flags.
use crate::drive::{Scenario, Subject};
use crate::runtime::runtime;
use crate::valid;
use open_feature::{Client, EvaluationContext, OpenFeature};
use open_feature_flagd::{FlagdOptions, FlagdProvider, ResolverType};
use std::hint::black_box;
use std::sync::OnceLock;

/// The flags that all of them read.
const FLAGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/flags.json");
/// In the half that is on, in every version of the bucketing.
const USER: &str = "user-6";

/// A flag without rules.
pub(crate) fn fixed() -> Scenario {
    Scenario {
        name: "flag/static",
        subjects: || subjects("recommendations"),
        between_rounds: || (),
    }
}

/// A flag that is on for one plan.
pub(crate) fn comparison() -> Scenario {
    Scenario {
        name: "flag/comparison",
        subjects: || subjects("express-checkout"),
        between_rounds: || (),
    }
}

/// A flag that is on for half of the users.
pub(crate) fn fractional() -> Scenario {
    Scenario { name: "flag/fractional", subjects: || subjects("new-search"), between_rounds: || () }
}

/// All of them evaluate the flag for the same user, whom they know beforehand. It is on.
fn subjects(flag: &'static str) -> Vec<Subject> {
    vec![Subject::asked("baseline", || black_box(true)), open_feature(flag)]
}

fn open_feature(flag: &'static str) -> Subject {
    let (client, context) = flagd();
    let evaluate = async || client.get_bool_value(black_box(flag), Some(context), None).await;
    assert_eq!(runtime().block_on(evaluate()), Ok(true), "{flag} is on for {USER}");
    Subject::awaited("open-feature", evaluate)
}

/// The client, with flagd's provider behind it, as their documentation says; and who asks. Its
/// cache stays off, as it is by default where flags are evaluated in the process.
fn flagd() -> &'static (Client, EvaluationContext) {
    static FLAGD: OnceLock<(Client, EvaluationContext)> = OnceLock::new();
    FLAGD.get_or_init(|| {
        let connected = runtime().block_on(async {
            let provider = FlagdProvider::new(FlagdOptions {
                resolver_type: ResolverType::File,
                source_configuration: Some(FLAGS.to_owned()),
                cache_settings: None,
                ..FlagdOptions::default()
            });
            let provider = valid(provider.await);
            let mut api = OpenFeature::singleton_mut().await;
            api.set_provider(provider).await;
            api.create_client()
        });
        let context =
            EvaluationContext::default().with_targeting_key(USER).with_custom_field("plan", "pro");
        (connected, context)
    })
}
