//! The form in which a command is declared.

/// Declares a command: the struct with its arguments, and its constants. After the verb come what it
/// acts on, its effect, and the least role that has it.
macro_rules! declare {
    (
        $(#[$doc:meta])* $name:ident { $($fields:tt)* }
        $verb:literal $object:ident $effect:ident $role:ident -> $reply:ty,
        $($constant:ident = $value:expr),* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, clap::Args)]
        pub struct $name { $($fields)* }
        impl $crate::command::Command for $name {
            const OBJECT: $crate::command::Object = $crate::command::Object::$object;
            const VERB: &'static str = $verb;
            const EFFECT: $crate::command::Effect = $crate::command::Effect::$effect;
            const ROLE: $crate::command::Role = $crate::command::Role::$role;
            type Reply = $reply;
            $(declare!(@ $constant $value);)*
        }
    };
    (@ ALIASES $value:expr) => { const ALIASES: &'static [&'static str] = $value; };
    (@ NEEDS $value:expr) => { const NEEDS: Option<&'static str> = Some($value); };
    (@ REST $value:expr) => { const REST: bool = $value; };
    (@ SPOKEN $value:expr) => { const SPOKEN: &'static [&'static str] = $value; };
    (@ PERSON $value:expr) => { const PERSON: Option<&'static str> = Some($value); };
    (@ INSTEAD $value:expr) => { const INSTEAD: Option<&'static str> = Some($value); };
    (@ POSITIONAL $value:expr) => { const POSITIONAL: &'static [&'static str] = $value; };
    (@ EXAMPLES $value:expr) => { const EXAMPLES: &'static [$crate::command::Example] = $value; };
}
