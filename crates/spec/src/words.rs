//! A macro for enums whose values have a permanent number and a word in kernel text.

#[doc(hidden)]
#[macro_export]
macro_rules! numbered_words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident $number:literal $word:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            #[repr(u8)]
            pub enum $name {
                $($(#[$each])* $variant = $number,)*
            }

            impl $name {
                /// All values, in order of number.
                pub const ALL: &'static [$name] = &[$($name::$variant),*];

                /// Returns the word in kernel text.
                pub const fn name(self) -> &'static str {
                    match self { $($name::$variant => $word,)* }
                }

                /// Returns the permanent number.
                pub const fn number(self) -> u8 {
                    self as u8
                }

                /// Returns the value with this number.
                pub fn from_number(number: u8) -> Option<Self> {
                    Self::ALL.iter().copied().find(|a| a.number() == number)
                }

                /// Returns the value with this word.
                pub fn parse(word: &str) -> Option<Self> {
                    Self::ALL.iter().copied().find(|a| a.name() == word)
                }
            }
        )*
    };
}
