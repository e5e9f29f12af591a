//! What the code says of its flags.
use octostack_core::inspect::{Problem, Value};
use std::fmt;
use std::panic::RefUnwindSafe;

/// Why a flag is there, and so how long it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlagKind {
    /// Hides work in progress, and lets it out step by step. Gone weeks after it is out.
    Release,
    /// Compares variants. Gone once one has won.
    Experiment,
    /// Switches parts of a service off when it has to carry less. May stay.
    Ops,
    /// Says who may have what. May stay.
    Permission,
}

impl FlagKind {
    /// As it is written in files and on pages: `release`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Experiment => "experiment",
            Self::Ops => "ops",
            Self::Permission => "permission",
        }
    }

    /// Whether such a flag has to say when it is to be gone.
    const fn is_temporary(self) -> bool {
        matches!(self, Self::Release | Self::Experiment)
    }
}

impl fmt::Display for FlagKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a declaration says beside key, type and default; made by [`flags!`](crate::flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub(crate) kind: Option<FlagKind>,
    pub(crate) owner: &'static str,
    pub(crate) expires: Option<&'static str>,
    pub(crate) doc: &'static str,
}

impl About {
    pub(crate) const NOTHING: Self = Self { kind: None, owner: "", expires: None, doc: "" };

    /// Kind, owner, the day after which the flag should be gone (`YYYY-MM-DD`), and what it is for.
    ///
    /// # Panics
    /// If there is no owner, `expires` is no such day, or a release or experiment flag has none. In a `static`, as
    /// [`flags!`](crate::flags) makes it, that is an error of the compiler.
    pub const fn new(
        kind: FlagKind,
        owner: &'static str,
        expires: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        assert!(!owner.is_empty(), "a flag needs an `owner`, to be asked when it is to go");
        match expires {
            None => assert!(
                !kind.is_temporary(),
                "a release or experiment flag needs `expires = \"YYYY-MM-DD\"`"
            ),
            Some(day) => assert!(is_day(day), "`expires` is a day, such as \"2027-03-01\""),
        }
        Self { kind: Some(kind), owner, expires, doc }
    }
}

/// Whether text is a day as ISO 8601 writes it. Such text is in the order of time.
pub(crate) const fn is_day(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return false;
    };
    let digits = [*y1, *y2, *y3, *y4, *m1, *m2, *d1, *d2];
    let mut i = 0;
    while i < digits.len() {
        if !digits[i].is_ascii_digit() {
            return false;
        }
        i += 1;
    }
    let month = (*m1 - b'0') * 10 + (*m2 - b'0');
    let day = (*d1 - b'0') * 10 + (*d2 - b'0');
    1 <= month && month <= 12 && 1 <= day && day <= 31
}

/// A flag of the code, whatever its type.
pub(crate) trait Declared: Sync + RefUnwindSafe {
    fn key(&self) -> &'static str;
    /// What its values are called: `a boolean`.
    fn type_name(&self) -> &'static str;
    fn default(&self) -> Value;
    fn about(&self) -> &About;
    /// Whether a value of a file can be one of its values.
    fn takes(&self, value: &crate::VariantValue) -> bool;
}

/// A flag that [`flags!`](crate::flags) declared, for whoever wants to know all of them.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Declaration(&'static dyn Declared);

inventory::collect!(Declaration);

impl Declaration {
    #[doc(hidden)]
    pub const fn new<T: crate::FlagType>(flag: &'static crate::Flag<T>) -> Self {
        Self(flag)
    }

    /// All that are linked into the process, by key.
    pub(crate) fn all() -> Vec<&'static dyn Declared> {
        let mut all: Vec<_> = inventory::iter::<Self>.into_iter().map(|found| found.0).collect();
        all.sort_by_key(|flag| flag.key());
        all
    }
}

impl Declaration {
    /// Keys that are declared more than once, and not in the same way.
    pub(crate) fn problems() -> Vec<Problem> {
        let same = |a: &dyn Declared, b: &dyn Declared| {
            (a.type_name(), a.default(), a.about()) == (b.type_name(), b.default(), b.about())
        };
        let all = Self::all();
        let pairs = all.windows(2).filter(|pair| pair[0].key() == pair[1].key());
        let differing = pairs.filter(|pair| !same(pair[0], pair[1]));
        let what = "the code declares it twice, and not in the same way";
        differing.map(|pair| Problem::new(format!("flags.{}", pair[0].key()), what)).collect()
    }
}

impl fmt::Debug for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Declaration").field(&self.0.key()).finish()
    }
}

/// `NEW_CHECKOUT` as `new-checkout`: the key of a flag that declares none.
#[doc(hidden)]
pub const fn kebab<const N: usize>(name: &str) -> [u8; N] {
    let name = name.as_bytes();
    let mut key = [0; N];
    let mut i = 0;
    while i < N {
        key[i] = if name[i] == b'_' { b'-' } else { name[i].to_ascii_lowercase() };
        i += 1;
    }
    key
}

/// Declares flags: each with a name, a type, a default in code, its kind, owner and expiry.
///
/// ```
/// octostack_flags::flags! {
///     /// Recommendations beside an order.
///     pub RECOMMENDATIONS: bool = false, kind = release, owner = "shop", expires = "2027-03-01";
///
///     /// How search results are ranked.
///     RANKING: Text = "classic", key = "search.ranking", kind = experiment, owner = "search",
///         expires = "2027-01-31";
///
///     /// How many suggestions there are at most.
///     SUGGESTIONS: i64 = 5, kind = ops, owner = "search";
/// }
///
/// assert!(!RECOMMENDATIONS.get());
/// assert_eq!(RANKING.get(), "classic");
/// assert_eq!(RECOMMENDATIONS.key(), "recommendations");
/// ```
///
/// Each becomes a `static` [`Flag`](crate::Flag). The type is `bool`, `i64`, `f64` or `Text`. The
/// order is fixed: `key` (the name in lower case with dashes, if there is none), `kind` (`release`,
/// `experiment`, `ops` or `permission`), `owner`, `expires` (a day; a release or an experiment has
/// to end, the others may stay). The doc comment is shown on `/flagz`.
#[macro_export]
macro_rules! flags {
    ($(
        $(#[doc = $doc:expr])*
        $vis:vis $name:ident: $type:ident = $default:expr,
        $(key = $key:expr,)?
        kind = $kind:ident,
        owner = $owner:expr
        $(, expires = $expires:expr)?
        $(,)?;
    )+) => {$(
        $(#[doc = $doc])*
        $vis static $name: $crate::Flag<$crate::__flag_type!($type)> = $crate::Flag::declared(
            $crate::__flag_key!($name $(, $key)?),
            $default,
            $crate::About::new(
                $crate::__flag_kind!($kind),
                $owner,
                $crate::__flag_expiry!($($expires)?),
                ::core::concat!($($doc, "\n",)* ""),
            ),
        );
        $crate::__private::submit! { $crate::__private::Declaration::new(&$name) }
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __flag_type {
    (bool) => {
        bool
    };
    (i64) => {
        i64
    };
    (f64) => {
        f64
    };
    (Text) => {
        $crate::Text
    };
    ($other:ident) => {
        ::core::compile_error!("a flag is of type bool, i64, f64 or Text")
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __flag_kind {
    (release) => {
        $crate::FlagKind::Release
    };
    (experiment) => {
        $crate::FlagKind::Experiment
    };
    (ops) => {
        $crate::FlagKind::Ops
    };
    (permission) => {
        $crate::FlagKind::Permission
    };
    ($other:ident) => {
        ::core::compile_error!("the kind of a flag is release, experiment, ops or permission")
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __flag_expiry {
    () => {
        ::core::option::Option::None
    };
    ($expires:expr) => {
        ::core::option::Option::Some($expires)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __flag_key {
    ($name:ident, $key:expr) => {
        $key
    };
    ($name:ident) => {{
        const NAME: &str = ::core::stringify!($name);
        const KEY: &[u8] = &$crate::__private::kebab::<{ NAME.len() }>(NAME);
        match ::core::str::from_utf8(KEY) {
            ::core::result::Result::Ok(key) => key,
            ::core::result::Result::Err(_) => NAME,
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::{About, FlagKind, is_day, kebab};

    #[test]
    fn days() {
        assert!(is_day("2027-03-01") && is_day("1999-12-31"));
        for wrong in
            ["", "2027-3-1", "2027-13-01", "2027-00-01", "2027-01-32", "01.03.2027", "2027-01-0x"]
        {
            assert!(!is_day(wrong), "{wrong}");
        }
    }

    #[test]
    fn keys() {
        assert_eq!(&kebab::<12>("NEW_CHECKOUT"), b"new-checkout");
        assert_eq!(&kebab::<2>("A1"), b"a1");
    }

    #[test]
    #[should_panic(expected = "needs `expires")]
    fn a_release_has_to_end() {
        let _ = About::new(FlagKind::Release, "shop", None, "");
    }

    #[test]
    #[should_panic(expected = "needs an `owner`")]
    fn somebody_has_to_own_it() {
        let _ = About::new(FlagKind::Ops, "", None, "");
    }

    #[test]
    #[should_panic(expected = "`expires` is a day")]
    fn an_expiry_is_a_day() {
        let _ = About::new(FlagKind::Ops, "shop", Some("soon"), "");
    }
}
