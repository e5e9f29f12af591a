//! What the handles, the builders and the layers of all policies have in common, written once.
//!
//! A policy is `struct X<H = Arc<Shared>> { shared: H }`, and its `Shared` has the methods `name`,
//! `settings`, `mode` and `reconfigure(Option<Mode>, Option<XConfig>)`. Its builder has the fields
//! `settings`, `mode` and `registry`.

/// The methods that every handle has; `$modes` says which modes the policy knows.
macro_rules! policy_handle {
    ($policy:ident, $builder:ident, $config:ident, modes: $modes:literal) => {
        impl $policy {
            /// Starts to build it. The name shows in metrics, errors and on the admin port: 1 to
            /// 128 of `A-Z a-z 0-9 . _ -`.
            pub fn builder(name: impl Into<std::sync::Arc<str>>) -> $builder {
                $builder::new(name.into())
            }

            /// Makes it live as long as the process: the handle is then `Copy`, and a call costs
            /// two reference counts less. The memory is never freed.
            pub fn leak(self) -> $policy<&'static Shared> {
                $policy { shared: crate::handle::leak(self.shared) }
            }
        }

        impl<H: crate::Handle<Shared>> $policy<H> {
            /// Its name.
            pub fn name(&self) -> &str {
                self.shared.name()
            }

            /// The settings in force, with an operator's override on top.
            pub fn settings(&self) -> $config {
                self.shared.settings()
            }

            /// The mode in force, with an operator's override on top.
            pub fn mode(&self) -> crate::Mode {
                self.shared.mode()
            }

            /// Replaces its settings and keeps its state. An operator's override stays on top.
            ///
            /// # Errors
            /// Everything that is wrong with the settings; nothing has changed then.
            pub fn reconfigure(&self, settings: $config) -> Result<(), crate::SettingsError> {
                self.shared.reconfigure(None, Some(settings))
            }

            /// Changes its mode and keeps its state. An operator's override stays on top.
            ///
            /// # Errors
            #[doc = concat!("It has the modes ", $modes, "; nothing has changed with another.")]
            pub fn set_mode(&self, mode: crate::Mode) -> Result<(), crate::SettingsError> {
                self.shared.reconfigure(Some(mode), None)
            }
        }
    };
}
pub(crate) use policy_handle;

/// What the shared state of a policy has in common: its name, its settings and mode, and how these
/// and the override over them change. It has the fields `name` and `live` and a method
/// `apply(Mode, &XConfig)`, which takes what is then in force.
macro_rules! policy_changes {
    ($shared:ident, $config:ident) => {
        impl $shared {
            pub(super) fn name(&self) -> &str {
                &self.name
            }

            pub(super) fn settings(&self) -> $config {
                self.live.now().1
            }

            pub(super) fn mode(&self) -> octostack_core::inspect::Mode {
                self.live.now().0
            }

            pub(super) fn reconfigure(
                &self,
                mode: Option<octostack_core::inspect::Mode>,
                settings: Option<$config>,
            ) -> Result<(), crate::SettingsError> {
                let apply = |mode, settings: &$config| self.apply(mode, settings);
                self.live.change(&self.name, mode, settings, apply)
            }
        }

        impl octostack_core::inspect::Control for $shared {
            fn check(
                &self,
                patch: &octostack_core::inspect::Patch,
            ) -> Result<(), Vec<octostack_core::inspect::Problem>> {
                self.live.check_with(Some(patch), |_| Vec::new())
            }

            fn set_override(
                &self,
                patch: Option<&octostack_core::inspect::Patch>,
            ) -> Result<(), Vec<octostack_core::inspect::Problem>> {
                self.live.set_override(patch, |mode, settings| self.apply(mode, settings))
            }
        }
    };
}
pub(crate) use policy_changes;

/// The layer of a policy and how it makes its service, which has the fields `inner`, `policy` and
/// `protocol`. With `reach = $default` both have one more: how far a call reaches.
macro_rules! policy_layer {
    (
        $(#[$doc:meta])*
        $layer:ident, $service:ident, $policy:ident $(, reach = $default:ty)?
    ) => {
        crate::policy::policy_layer! {
            @with $(#[$doc])* $layer, $service, $policy $(, X: $default)?
        }
    };
    (
        @with $(#[$doc:meta])*
        $layer:ident, $service:ident, $policy:ident $(, $x:ident: $default:ty)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $layer<P = crate::Plain, H = std::sync::Arc<Shared> $(, $x = $default)?> {
            policy: $policy<H>,
            protocol: P,
            $(reach: $x,)?
        }

        impl<H> $layer<crate::Plain, H> {
            pub(super) fn new(policy: $policy<H>) -> Self {
                Self { policy, protocol: crate::Plain $(, reach: <$default>::default())? }
            }
        }

        impl<S, P: Clone, H: crate::Handle<Shared> $(, $x: Clone)?> tower_layer::Layer<S>
            for $layer<P, H $(, $x)?>
        {
            type Service = $service<S, P, H $(, $x)?>;

            fn layer(&self, inner: S) -> Self::Service {
                $service {
                    inner,
                    policy: self.policy.clone(),
                    protocol: self.protocol.clone(),
                    $(reach: <$x as Clone>::clone(&self.reach),)?
                }
            }
        }
    };
}
pub(crate) use policy_layer;

/// The methods that every builder has.
macro_rules! policy_builder {
    ($builder:ident, $config:ident) => {
        impl $builder {
            /// Replaces all settings, for instance by those read from config.
            pub fn settings(mut self, settings: $config) -> Self {
                self.settings = settings;
                self
            }

            /// The mode to start in; [`Mode::Enforce`](crate::Mode::Enforce) unless told otherwise.
            pub fn mode(mut self, mode: crate::Mode) -> Self {
                self.mode = mode;
                self
            }

            /// Registers in another registry than that of the process.
            pub fn registry(mut self, registry: &octostack_core::Registry) -> Self {
                self.registry = registry.clone();
                self
            }
        }
    };
}
pub(crate) use policy_builder;
