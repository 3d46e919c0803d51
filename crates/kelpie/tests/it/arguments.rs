//! What is refused before anything starts, and the words for it.

use crate::process::{run, text};

#[tokio::test]
async fn bad_arguments_are_refused_with_code_2() {
    for (args, said) in [
        (&["serve", "--listen", "nowhere"][..], "--listen"),
        (&["serve", "--store", "redis://x"][..], "is not a store"),
        (&["serve", "--prices", "/no/such/file"][..], "--prices: "),
        (&["serve", "--tenant-microdollars-per-day", "1"][..], "needs --prices FILE"),
        (&["serve", "--log-format", "xml"][..], "possible values: text, json"),
        (&["agents", "create", "a", "--memory", "human"][..], "expected LABEL=TEXT"),
        (&["agents", "list", "--server", "not a url"][..], "e.g. http://127.0.0.1:8283"),
        (&["actor", "call", "t", "a", "h", "{"][..], "EOF while parsing"),
        (&["fly"][..], "unrecognized subcommand"),
    ] {
        let output = run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{args:?}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn the_exit_codes_are_in_the_help() {
    let help = text(&run(&["serve", "--help"]).await.stdout);
    for said in
        ["KELPIE_LISTEN", "127.0.0.1:8283", "embedded:./kelpie-data", "the address to listen at is taken"]
    {
        assert!(help.contains(said), "{said:?} is missing in:\n{help}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_and_how_to_start_one() {
    let address = crate::process::free_address().await;
    let url = format!("http://{address}");
    for args in [&["agents", "list", "--server", &url][..], &["chat", "anybody", "--server", &url][..]] {
        let output = run(args).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&address.to_string()) && said.contains("kelpie serve"), "{said}");
    }
}
