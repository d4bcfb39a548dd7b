//! Lines of a file, none of them longer than it may be.

use std::io::{self, BufRead, Read as _};

/// Reads them one by one.
pub(super) struct Lines<R> {
    reader: R,
    bytes_max: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn of(reader: R, bytes_max: usize) -> Self {
        Self { reader, bytes_max }
    }

    /// The next line, without its end; an empty one when it is longer than it may be or no text, which
    /// nothing that is looked for here is. And whether it has an end.
    pub(super) fn next(&mut self) -> io::Result<Option<(String, bool)>> {
        let mut line = Vec::new();
        if self.reader.by_ref().take(self.bytes_max as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        Ok(Some((String::from_utf8(line).unwrap_or_default(), whole)))
    }

    /// The next line that has an end: what has none was cut off while it was written.
    pub(super) fn next_whole(&mut self) -> io::Result<Option<String>> {
        Ok(self.next()?.filter(|(_, whole)| *whole).map(|(line, _)| line))
    }
}
