//! The HTTP front of Kelpie.
