//! Evaluation of feature flags.
use crate::drive::{Scenario, Subject};
use crate::runtime::runtime;
use crate::valid;
use octostack_core::Registry;
use octostack_flags::{Context, Flag, Flags, flags};
use open_feature::{Client, EvaluationContext, OpenFeature};
use open_feature_flagd::{FlagdOptions, FlagdProvider, ResolverType};
use std::hint::black_box;
use std::sync::OnceLock;

/// The flags that all of them read.
const FLAGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/flags.json");
/// In the half that is on, in every version of the bucketing.
const USER: &str = "user-6";

flags! {
    /// A flag without rules.
    RECOMMENDATIONS: bool = false, kind = ops, owner = "benches";
    /// A flag that is on for one plan.
    EXPRESS_CHECKOUT: bool = false, kind = ops, owner = "benches";
    /// A flag that is on for half of the users.
    NEW_SEARCH: bool = false, kind = ops, owner = "benches";
}

/// A flag without rules.
pub(crate) fn fixed() -> Scenario {
    Scenario { name: "flag/static", subjects: || subjects(&RECOMMENDATIONS), between_rounds: || () }
}

/// A flag that is on for one plan.
pub(crate) fn comparison() -> Scenario {
    Scenario {
        name: "flag/comparison",
        subjects: || subjects(&EXPRESS_CHECKOUT),
        between_rounds: || (),
    }
}

/// A flag that is on for half of the users.
pub(crate) fn fractional() -> Scenario {
    Scenario { name: "flag/fractional", subjects: || subjects(&NEW_SEARCH), between_rounds: || () }
}

/// All of them evaluate the flag for the same user, whom they know beforehand. It is on.
fn subjects(flag: &'static Flag<bool>) -> Vec<Subject> {
    let (flags, pinned) = (octostack(), octostack().pin(who()));
    assert!(pinned.clone().scope(|| flag.is_on()), "{flag:?} is on for {USER}");
    let by_key = pinned.clone();
    vec![
        Subject::asked("baseline", || black_box(true)),
        Subject::within("octostack", pinned, move || black_box(flag).is_on()),
        Subject::asked("octostack-by-key", move || {
            by_key.evaluate(black_box(flag.key())).variant.is_some()
        }),
        // As if a request had no other use for the pin and its context.
        Subject::asked("octostack-anew", move || {
            flags.pin(who()).scope(|| black_box(flag).is_on())
        }),
        open_feature(flag.key()),
    ]
}

fn octostack() -> &'static Flags {
    static OCTOSTACK: OnceLock<Flags> = OnceLock::new();
    OCTOSTACK.get_or_init(|| {
        let flags = Flags::builder().registry(&Registry::new()).build();
        let loaded = valid(flags.load(&valid(std::fs::read(FLAGS)), FLAGS));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        flags
    })
}

fn who() -> Context {
    Context::new().with_targeting_key(USER).with("plan", "pro")
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
