//! A guest's processors: what they are, how they begin, and the threads they run in.

pub mod features;
pub mod gate;
pub mod registers;
pub mod run;
