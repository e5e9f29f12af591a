use crate::context::Context;
use crate::declared::{About, Declared, FlagKind};
use crate::evaluation::{ErrorCode, Reason};
use crate::pin::{self, Pinned};
use crate::snapshot::{Resolution, Slot, Snapshot};
use crate::store::Flags;
use crate::variant::{Text, VariantValue};
use octostack_core::inspect::Value;
use std::fmt;
use std::panic::RefUnwindSafe;
// A word that only saves a look-up: a stale one is looked up again. Not `core`'s atomics, which
// have no `const` constructor under the model checker.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A flag as the code knows it: key, type and default. Made by [`flags!`](crate::flags).
///
/// Reading one cannot fail and does not allocate. Within a request it reads the snapshot and the
/// context that the request is pinned to; elsewhere the snapshot of [`Flags::global`] and an empty
/// context, which is counted apart. Whatever goes wrong, the answer is the default in code, and the
/// reason is in [`details`](Self::details), on `/flagz` and in the metrics.
pub struct Flag<T: FlagType> {
    key: &'static str,
    default: T::Literal,
    about: About,
    /// Where it was found last: `snapshot:32 | index:32`. No snapshot is 0.
    found: AtomicU64,
}

/// Marks that a snapshot does not have the flag.
const NOWHERE: u32 = u32::MAX;

impl<T: FlagType> Flag<T> {
    /// A flag without a declaration: it is not on `/flagz` until a file has it, and while no file
    /// has it, its evaluations are counted as those of an unknown flag. Prefer
    /// [`flags!`](crate::flags).
    pub const fn new(key: &'static str, default: T::Literal) -> Self {
        Self::declared(key, default, About::NOTHING)
    }

    #[doc(hidden)]
    pub const fn declared(key: &'static str, default: T::Literal, about: About) -> Self {
        Self { key, default, about, found: AtomicU64::new(0) }
    }

    /// The key in flag files.
    pub const fn key(&self) -> &'static str {
        self.key
    }

    /// The default in code.
    pub fn default_value(&self) -> T {
        T::of(self.default)
    }

    /// What sort of flag it is, if its declaration says so.
    pub const fn kind(&self) -> Option<FlagKind> {
        self.about.kind
    }

    /// The value for the current request.
    #[inline]
    pub fn get(&self) -> T {
        self.evaluate(|_, _, value| value)
    }

    /// The value for the current request, and how it came about.
    pub fn details(&self) -> Details<T> {
        self.evaluate(|slot, resolution, value| {
            let variant = slot.and_then(|slot| slot.variant(resolution));
            Details {
                value,
                variant: variant.map(|variant| variant.name.clone()),
                reason: resolution.reason,
                error: resolution.error,
            }
        })
    }

    #[inline]
    fn evaluate<R>(&self, answer: impl Fn(Option<&Slot>, Resolution, T) -> R) -> R {
        pin::with_current(|pinned| match pinned {
            Some(pinned) => self.within(pinned, &answer),
            None => self.outside(&answer),
        })
    }

    /// Not within a request.
    #[cold]
    fn outside<R>(&self, answer: &impl Fn(Option<&Slot>, Resolution, T) -> R) -> R {
        let pinned = Flags::global().pin(Context::new());
        if let Some(slot) = self.slot_in(&pinned.snapshot().value) {
            slot.flag.entry.count_outside();
        }
        self.within(&pinned, answer)
    }

    #[inline]
    fn within<R>(&self, pinned: &Pinned, answer: &impl Fn(Option<&Slot>, Resolution, T) -> R) -> R {
        let snapshot = &pinned.snapshot().value;
        let Some(slot) = self.slot_in(snapshot) else {
            snapshot.count_unknown();
            let unknown = Resolution::error(ErrorCode::FlagNotFound);
            return answer(None, unknown, self.default_value());
        };
        let mut resolution = snapshot.resolve(slot, pinned.context(), pinned.timestamp());
        let variant = slot.variant(resolution);
        let value = variant.and_then(|variant| T::read(&variant.value));
        if variant.is_some() && value.is_none() {
            resolution = Resolution::error(ErrorCode::TypeMismatch);
        }
        slot.count(resolution);
        answer(Some(slot), resolution, value.unwrap_or_else(|| self.default_value()))
    }

    /// The flag in `snapshot`; looked up by its key only where another snapshot was asked last.
    #[inline]
    fn slot_in<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Slot> {
        let found = self.found.load(Relaxed);
        #[allow(clippy::cast_possible_truncation, reason = "the two halves of the word")]
        let (id, index) = ((found >> 32) as u32, found as u32);
        let index = if id == snapshot.id() { index } else { self.look_up(snapshot) };
        snapshot.slot(index)
    }

    #[cold]
    fn look_up(&self, snapshot: &Snapshot) -> u32 {
        let index = snapshot.index(self.key).unwrap_or(NOWHERE);
        self.found.store(u64::from(snapshot.id()) << 32 | u64::from(index), Relaxed);
        index
    }
}

impl Flag<bool> {
    /// Whether it is on for the current request.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.get()
    }
}

impl<T: FlagType> Declared for Flag<T> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn type_name(&self) -> &'static str {
        T::NAME
    }

    fn default(&self) -> Value {
        T::of(self.default).to_value()
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn takes(&self, value: &VariantValue) -> bool {
        T::read(value).is_some()
    }
}

impl<T: FlagType> fmt::Debug for Flag<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flag")
            .field("key", &self.key)
            .field("default", &Declared::default(self).to_string())
            .finish_non_exhaustive()
    }
}

/// The value of a flag, and how it came about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Details<T> {
    /// The value.
    pub value: T,
    /// The variant that has it; `None` where it is the default in code.
    pub variant: Option<Text>,
    /// Why it is this one.
    pub reason: Reason,
    /// What is wrong, where the reason is [`Reason::Error`].
    pub error: Option<ErrorCode>,
}

/// A type that a [`Flag`] can have: `bool`, `i64`, `f64` and [`Text`].
pub trait FlagType: sealed::Sealed + Sized + 'static {
    /// What a default in code is written as.
    type Literal: Copy + Sync + RefUnwindSafe + 'static;
}

mod sealed {
    use crate::variant::{Text, VariantValue};
    use octostack_core::inspect::Value;

    /// What stands behind [`FlagType`](super::FlagType).
    pub trait Sealed: Sized {
        const NAME: &'static str;
        fn of(literal: <Self as super::FlagType>::Literal) -> Self
        where
            Self: super::FlagType;
        fn read(value: &VariantValue) -> Option<Self>;
        fn to_value(&self) -> Value;
    }

    /// The numbers that a float and an integer both hold exactly: up to 2⁵³ - 1.
    const EXACT: i64 = (1 << 53) - 1;

    impl Sealed for bool {
        const NAME: &'static str = "a boolean";
        #[inline]
        fn of(literal: Self) -> Self {
            literal
        }
        #[inline]
        fn read(value: &VariantValue) -> Option<Self> {
            match value {
                VariantValue::Bool(yes) => Some(*yes),
                _ => None,
            }
        }
        fn to_value(&self) -> Value {
            (*self).into()
        }
    }

    impl Sealed for i64 {
        const NAME: &'static str = "a number";
        #[inline]
        fn of(literal: Self) -> Self {
            literal
        }
        /// Floats that are whole numbers are taken too, as JSON does not tell them apart.
        fn read(value: &VariantValue) -> Option<Self> {
            match value {
                VariantValue::Integer(number) => Some(*number),
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    reason = "within what both hold exactly"
                )]
                VariantValue::Float(number) => {
                    let exact = number.fract() == 0.0 && number.abs() <= EXACT as f64;
                    exact.then_some(*number as Self)
                }
                _ => None,
            }
        }
        fn to_value(&self) -> Value {
            (*self).into()
        }
    }

    impl Sealed for f64 {
        const NAME: &'static str = "a number";
        #[inline]
        fn of(literal: Self) -> Self {
            literal
        }
        fn read(value: &VariantValue) -> Option<Self> {
            match value {
                VariantValue::Float(number) => Some(*number),
                #[allow(clippy::cast_precision_loss, reason = "within what both hold exactly")]
                VariantValue::Integer(number) => {
                    (number.unsigned_abs() <= EXACT.unsigned_abs()).then_some(*number as Self)
                }
                _ => None,
            }
        }
        fn to_value(&self) -> Value {
            (*self).into()
        }
    }

    impl Sealed for Text {
        const NAME: &'static str = "a string";
        #[inline]
        fn of(literal: &'static str) -> Self {
            Self::code(literal)
        }
        #[inline]
        fn read(value: &VariantValue) -> Option<Self> {
            match value {
                VariantValue::Text(text) => Some(text.clone()),
                _ => None,
            }
        }
        fn to_value(&self) -> Value {
            self.to_string().into()
        }
    }
}

impl FlagType for bool {
    type Literal = Self;
}

impl FlagType for i64 {
    type Literal = Self;
}

impl FlagType for f64 {
    type Literal = Self;
}

impl FlagType for Text {
    type Literal = &'static str;
}
