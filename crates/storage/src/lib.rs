//! The transactional store contract and its backends.
