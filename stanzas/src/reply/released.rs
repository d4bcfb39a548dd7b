//! What is answered when a machine is given back.

use super::Reply;

reply! {
    /// A machine is somebody else's again.
    Released {
        /// What it was called here.
        name: String,
    }
}

impl Reply for Released {
    fn text(&self) -> String {
        let name = &self.name;
        format!(
            "{name} is no longer looked after here, and runs on as it is. To take it over again: adopt {name}"
        )
    }
}
