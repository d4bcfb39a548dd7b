//! The commands of a machine's screen and keyboard.

use std::time::Duration;

use crate::reply::{ScreenPicture, ScreenTicket, Typed};

declare! {
    /// Show what is on the screen, as a picture
    Screenshot {
        /// Keep the picture with the host for a while, to be asked for there, and upload it nowhere
        #[arg(long)]
        pub inline: bool,
    }
    "screenshot" Machine Read Viewer -> ScreenPicture,
    NEEDS = "screen",
    ALIASES = &["screen"],
    EXAMPLES = &[("screenshot", "a picture of the screen")],
}

declare! {
    /// Show the screen, and in a chat keep the picture fresh
    Watch {
        /// How often to look
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub every: Duration,
        /// For how long
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub during: Duration,
    }
    "watch" Machine Read Viewer -> ScreenPicture,
    NEEDS = "screen",
    POSITIONAL = &["every"],
    EXAMPLES = &[("watch 10s", "one picture, fresh every ten seconds"), ("watch 5s during=1h", "for an hour")],
}

declare! {
    /// Let a VNC viewer on your own computer look at the screen, and type and point there
    Vnc {
        /// Look only: nothing that is typed or pointed at in the viewer reaches the machine
        #[arg(id = "view-only", long)]
        pub view_only: bool,
    }
    "vnc" Machine Read Viewer -> ScreenTicket,
    NEEDS = "screen",
    ALIASES = &["viewer"],
    EXAMPLES = &[("vnc", "how to get there with a viewer"), ("vnc --view-only", "to look, and nothing else")],
}

declare! {
    /// Type a text on the keyboard, of the US layout
    Type {
        /// The text
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        pub text: String,
        /// Press enter after it
        #[arg(long)]
        pub enter: bool,
    }
    "type" Machine Change Operator -> Typed,
    NEEDS = "screen",
    POSITIONAL = &["text"],
    REST = true,
    EXAMPLES = &[("type root", "four keys"), ("type enter=yes uptime", "a line and the enter key")],
}

declare! {
    /// Press keys on the keyboard
    Key {
        /// One or several held down together, such as ctrl-alt-del, F2, enter; then the next
        #[arg(long, value_name = "KEYS", required = true, num_args = 1.., allow_hyphen_values = true)]
        pub keys: Vec<String>,
    }
    "key" Machine Change Operator -> Typed,
    NEEDS = "screen",
    POSITIONAL = &["keys"],
    ALIASES = &["press"],
    EXAMPLES = &[("key ctrl-alt-del", "three keys at once"), ("key down down enter", "one after another")],
}
