//! What a fuzzer says in the place of a guest's agent.

use tokio::io::BufReader;

use super::{Talk, answer, asking, seeing};
use crate::driver::{
    guest_agent::{ADDRESSES_MAX, FILE_BYTES_MAX, GuestSeen, OUTPUT_BYTES_MAX},
    qemu::fuzz::{Said, block_on},
};

/// What a guest says where its agent should answer: it is over when the guest says nothing more, nothing of
/// it is more than may be, and the words in it are words of one line.
pub fn guest_agent(data: &[u8]) {
    block_on(async {
        let talk = || Talk { stream: BufReader::new(Said::new(data)) };
        talk().sync(7).await.ok();
        let mut seen = GuestSeen::default();
        seeing::ask_all(&mut talk(), &mut seen).await.ok();
        let words = [&seen.agent, &seen.os, &seen.kernel, &seen.hostname].into_iter().flatten();
        for word in words.chain(seen.addresses.iter().map(|address| &address.nic)) {
            assert!(word.chars().count() <= 100 && !word.contains(char::is_control), "{word:?}");
        }
        assert!(seen.addresses.len() <= ADDRESSES_MAX);
        if let Ok(part) = asking::read_by(&mut talk(), "/etc/motd", 1, 1 << 20).await {
            assert!(part.bytes.len() <= (1 << 20).min(FILE_BYTES_MAX).min(data.len()));
        }
        asking::write_by(&mut talk(), "/etc/motd", b"some bytes", true).await.ok();
    });
    for line in data.split(|byte| *byte == b'\n').take(8) {
        match answer(line) {
            Ok(value) => {
                let ran = asking::ran(&value);
                assert!(ran.output.len() <= OUTPUT_BYTES_MAX && ran.errors.len() <= OUTPUT_BYTES_MAX);
                let why = asking::trimmed(&value).refused.unwrap_or_default();
                assert!(why.chars().count() <= 200 && !why.contains(char::is_control), "{why:?}");
            }
            Err(error) => crate::fuzz::is_said(&error.to_string()),
        }
    }
}
