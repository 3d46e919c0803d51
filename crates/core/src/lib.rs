//! The vocabulary of Kelpie and its pure state machines.
