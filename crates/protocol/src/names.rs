//! Enums that travel as a fixed set of strings.

/// Declares an enum whose variants are strings on the wire, each with its meaning.
///
/// A string this version does not know reads as `Unknown`, so that an old client survives a new gateway.
/// `Unknown` is not part of `ALL` and is never sent.
macro_rules! wire_names {
    ($(#[$doc:meta])* $name:ident { $($(#[$extra:meta])* $variant:ident = $text:literal, $meaning:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = $meaning] $(#[$extra])* $variant,)+
            /// A name newer than this version of the protocol crate.
            Unknown,
        }

        impl $name {
            /// Every name of this version, in the order of the documentation.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                    $name::Unknown => "unknown",
                }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($name::$variant => $meaning,)+
                    $name::Unknown => "A name newer than this version of the protocol crate.",
                }
            }

            /// The value of a name; `Unknown` where this version does not know it.
            pub fn from_name(name: &str) -> $name {
                match name {
                    $($text => $name::$variant,)+
                    _ => $name::Unknown,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(name: &str) -> Result<$name, Self::Err> {
                Ok($name::from_name(name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                let name = std::borrow::Cow::<str>::deserialize(from)?;
                Ok($name::from_name(&name))
            }
        }
    };
}
pub(crate) use wire_names;
