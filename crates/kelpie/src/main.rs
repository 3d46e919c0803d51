//! The command line of Kelpie.

fn main() {}
