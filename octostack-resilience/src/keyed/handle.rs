//! What the handles, the builders and the layers of keyed policies have in common, written once.

/// The methods that every handle has. `Shared<K>` has `name`, `live`, `reconfigure` and `store`.
macro_rules! keyed_handle {
    ($policy:ident, $builder:ident, $config:ident, modes: $modes:literal) => {
        impl<K> Clone for $policy<K> {
            fn clone(&self) -> Self {
                Self { shared: self.shared.clone() }
            }
        }

        impl<K: std::hash::Hash + Eq + Clone + Send + Sync + 'static> std::fmt::Debug
            for $policy<K>
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($policy))
                    .field("name", &self.shared.name)
                    .field("settings", &self.shared.live)
                    .finish_non_exhaustive()
            }
        }

        impl<K: std::hash::Hash + Eq + Clone + Send + Sync + 'static> $policy<K> {
            /// Starts to build it. The name shows in metrics, errors and on the admin port: 1 to
            /// 128 of `A-Z a-z 0-9 . _ -`.
            pub fn builder(name: impl Into<std::sync::Arc<str>>) -> $builder<K> {
                $builder::new(name.into())
            }

            /// Its name.
            pub fn name(&self) -> &str {
                &self.shared.name
            }

            /// The settings in force, with an operator's override on top.
            pub fn settings(&self) -> $config {
                self.shared.live.now().1
            }

            /// The mode in force, with an operator's override on top.
            pub fn mode(&self) -> crate::Mode {
                self.shared.live.now().0
            }

            /// Replaces the settings of all keys and keeps their state. An operator's override
            /// stays on top.
            ///
            /// # Errors
            /// Everything that is wrong with the settings; nothing has changed then.
            pub fn reconfigure(&self, settings: $config) -> Result<(), crate::SettingsError> {
                self.shared.reconfigure(None, Some(settings))
            }

            /// Changes the mode of all keys and keeps their state. An operator's override stays on
            /// top.
            ///
            /// # Errors
            #[doc = concat!("It has the modes ", $modes, "; nothing has changed with another.")]
            pub fn set_mode(&self, mode: crate::Mode) -> Result<(), crate::SettingsError> {
                self.shared.reconfigure(Some(mode), None)
            }

            /// How many keys have a state of their own, after dropping those that nobody has asked
            /// for in a long time.
            pub fn keys(&self) -> usize {
                self.keys_at(&octostack_core::SystemClock)
            }

            /// As [`keys`](Self::keys), with the time of another clock.
            pub fn keys_at(&self, clock: &impl octostack_core::Clock) -> usize {
                self.shared.store.look(clock, |_| ()).keys
            }
        }
    };
}
pub(crate) use keyed_handle;

/// The builder and the methods that every one has.
macro_rules! keyed_builder {
    ($builder:ident, $policy:ident, $config:ident) => {
        #[doc = concat!("Builds a [`", stringify!($policy), "`]. Defaults are those of [`", stringify!($config), "`].")]
        #[must_use = "a builder does nothing until `build()`"]
        pub struct $builder<K> {
            name: std::sync::Arc<str>,
            mode: crate::Mode,
            settings: $config,
            registry: octostack_core::Registry,
            show: Option<crate::keyed::ShowKey<K>>,
        }

        impl<K> std::fmt::Debug for $builder<K> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($builder))
                    .field("name", &self.name)
                    .field("mode", &self.mode)
                    .field("settings", &self.settings)
                    .finish_non_exhaustive()
            }
        }

        impl<K: std::hash::Hash + Eq + Clone + Send + Sync + 'static> $builder<K> {
            pub(super) fn new(name: std::sync::Arc<str>) -> Self {
                Self {
                    name,
                    mode: crate::Mode::Enforce,
                    settings: $config::default(),
                    registry: octostack_core::Registry::global().clone(),
                    show: None,
                }
            }

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

            /// How many keys have a state of their own at once: 1 to 1,000,000; 10,000 unless told
            /// otherwise.
            pub fn max_keys(mut self, keys: u32) -> Self {
                self.settings.max_keys = keys;
                self
            }

            /// A key that nobody has asked for in so long is forgotten: 1 s to 24 h; 10 min unless
            /// told otherwise.
            pub fn idle_for(mut self, idle: std::time::Duration) -> Self {
                self.settings.idle_for = idle;
                self
            }

            /// Shows keys to operators, in these words: at most 50 that are not at rest on
            /// `/policyz`, and in events. Without it nobody sees a key, which may be the address of
            /// a person, or a secret. It runs once for each new key.
            pub fn show_keys(
                mut self,
                show: impl Fn(&K) -> String + Send + Sync + 'static,
            ) -> Self {
                self.show = Some(std::sync::Arc::new(show));
                self
            }
        }
    };
}
pub(crate) use keyed_builder;

/// The layer of a keyed policy and how it makes its service, which has the fields `inner`,
/// `policy`, `protocol` and `reach`.
macro_rules! keyed_layer {
    ($(#[$doc:meta])* $layer:ident, $service:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $layer<P, B, X = crate::extent::Head> {
            policy: B,
            protocol: P,
            reach: X,
        }

        impl<B> $layer<crate::Plain, B> {
            pub(super) fn new(policy: B) -> Self {
                Self { policy, protocol: crate::Plain, reach: crate::extent::Head }
            }
        }

        #[cfg(feature = "http")]
        impl<P, B, X> $layer<P, B, X> {
            /// Covers the body of the answer as well; see [`extent`](crate::extent).
            pub fn until_body_end(self) -> $layer<P, B, crate::extent::BodyEnd> {
                let Self { policy, protocol, .. } = self;
                $layer { policy, protocol, reach: crate::extent::BodyEnd }
            }
        }

        impl<S, P: Clone, B: Clone, X: Clone> tower_layer::Layer<S> for $layer<P, B, X> {
            type Service = $service<S, P, B, X>;

            fn layer(&self, inner: S) -> Self::Service {
                $service {
                    inner,
                    policy: self.policy.clone(),
                    protocol: self.protocol.clone(),
                    reach: self.reach.clone(),
                }
            }
        }
    };
}
pub(crate) use keyed_layer;
