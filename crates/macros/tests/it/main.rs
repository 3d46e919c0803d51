//! What people see who make a mistake. Not run with all other tests: the compiler is asked
//! about each file, with all that `kelpie` needs.

mod newcomer {
    /// Each file in `tests/ui` has one mistake, and the message beside it points at it. After
    /// a change that is meant, `TRYBUILD=overwrite cargo test -p kelpie-macros` writes them anew.
    #[test]
    fn mistakes_are_shown_at_the_users_line() {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    }
}
