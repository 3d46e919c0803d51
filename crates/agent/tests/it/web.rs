//! Pages against a TCP server that plays one answer to each connection.

use std::net::SocketAddr;

use kelpie_agent::tool::runner::{Invocation, RESULT_BYTES_MAX, ToolOutcome, ToolRunner};
use kelpie_agent::tool::web::{NAME, WebFetch};
use kelpie_env::real;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that gives these answers in order, `HERE` in them being its address; then no more.
async fn serving(answers: &[String]) -> SocketAddr {
    let env = real::env();
    let listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let here = listener.local_addr().unwrap();
    let answers: Vec<String> =
        answers.iter().map(|answer| answer.replace("HERE", &here.to_string())).collect();
    env.spawn("pages", async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            assert!(request.starts_with(b"GET "));
            // Who has read enough may go.
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    here
}

fn page(kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// What comes of a call for a url, with this list.
async fn fetch(allowed: &str, url: &str) -> ToolOutcome {
    let web = WebFetch::new(real::env(), allowed.parse().unwrap()).unwrap();
    let arguments = serde_json::json!({ "url": url }).to_string();
    let invocation = Invocation {
        tool: NAME.into(),
        arguments,
        agent_id: "agent-1".into(),
        run_id: "run-1".into(),
        call_id: "call-1".into(),
        idempotency_key: "agent-1/run-1/1/0".into(),
    };
    web.run(invocation).await
}

/// What comes of the first page of a server at an allowed address.
async fn fetched(answers: &[String]) -> ToolOutcome {
    let here = serving(answers).await;
    fetch(&here.to_string(), &format!("http://{here}/start")).await
}

#[tokio::test]
async fn a_page_is_read_as_a_person_reads_it() {
    let html = "<html><head><title>t</title><script>var x = 1;</script></head>\
                <body><h1>Kelpie</h1><p>A <b>horse</b> of the <a href='/lake'>lake</a>.</p></body></html>";
    let outcome = fetched(&[page("text/html; charset=utf-8", html)]).await;
    assert!(outcome.ok, "{outcome:?}");
    insta::assert_snapshot!(outcome.text, @"
    # Kelpie

    A **horse** of the [lake][1].

    [1]: /lake
    ");
    assert_eq!(fetched(&[page("application/json", "{\"a\":1}")]).await, ToolOutcome::ok("{\"a\":1}"));
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_list_only() {
    let found =
        fetched(&[redirect("/next"), redirect("http://HERE/last"), page("text/plain", "found")]).await;
    assert_eq!(found, ToolOutcome::ok("found"));
    let away = fetched(&[redirect("http://127.0.0.2:1/x")]).await;
    assert!(
        !away.ok && away.text.starts_with("127.0.0.2 is not fetched from; allowed: 127.0.0.1:"),
        "{away:?}"
    );
    let round = fetched(&[const { "" }; 6].map(|_| redirect("/again"))).await;
    assert!(!round.ok && round.text.starts_with("more than 5 redirects"), "{round:?}");
    let nowhere = fetched(&[redirect("file:///etc/passwd")]).await;
    assert!(!nowhere.ok && nowhere.text.contains("only http:// and https:// are"), "{nowhere:?}");
}

#[tokio::test]
async fn what_is_no_page_is_said() {
    let missing = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned();
    let missing = fetched(&[missing]).await;
    assert!(!missing.ok && missing.text.ends_with("answered HTTP 404"), "{missing:?}");
    let image = fetched(&[page("image/png", "PNG")]).await;
    assert_eq!(image, ToolOutcome::failed("the page is image/png, which is no text"));
    let cut = fetched(&[page("text/plain", "abc").replace("Length: 3", "Length: 9")]).await;
    assert!(!cut.ok && cut.text.starts_with("the page broke off"), "{cut:?}");
    let wrong = fetch("*", "example").await;
    assert!(!wrong.ok && wrong.text.starts_with("`example` is no url"), "{wrong:?}");
    let long = fetch("*", &format!("http://example.org/{}", "a".repeat(3_000))).await;
    assert_eq!(long, ToolOutcome::failed("the url has 3019 bytes; 2048 are allowed"));
}

#[tokio::test]
async fn a_long_page_is_cut_and_says_so() {
    let long = fetched(&[page("text/plain", &"word ".repeat(RESULT_BYTES_MAX))]).await;
    assert!(long.ok && long.text.ends_with("[cut here: the result is longer than 50000 bytes]"));
    let markup = fetched(&[page("text/html", &format!("<p>first</p>{}last", "<br>".repeat(600_000)))]).await;
    assert!(markup.ok && markup.text.contains("first") && !markup.text.contains("last"));
    assert!(markup.text.contains("[cut here: "), "{}", markup.text.len());
}

#[tokio::test]
async fn a_name_for_this_machine_leads_nowhere() {
    // `localhost` is a name like any other: it is on the list, and its addresses are not public.
    let here = serving(&[page("text/plain", "secret")]).await;
    for list in ["*", "localhost"] {
        let outcome = fetch(list, &format!("http://localhost:{}/", here.port())).await;
        assert!(!outcome.ok && outcome.text.contains("`localhost` has no public address"), "{outcome:?}");
    }
    let by_address = fetch("*", &format!("http://{here}/")).await;
    assert!(!by_address.ok && by_address.text.contains("is not fetched from"), "{by_address:?}");
}
