//! Moves money about: `cargo run -p bank`. Serves it to programs in other languages, until ^C:
//! `cargo run -p bank -- serve embedded:./bank-data 127.0.0.1:8284 ./outside`.
#![expect(clippy::print_stdout, reason = "this is what the example shows")]

use std::error::Error;
use std::time::Duration;

use bank::Account;
use bank::outside::Outside;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => show().await,
        ["serve", store, address, outside] => serve(store, address, outside).await,
        _ => Err("usage: bank [serve STORE ADDRESS FOLDER]".into()),
    }
}

async fn show() -> Result<(), Box<dyn Error>> {
    let cluster = kelpie::open("embedded:./bank-data").actor::<Account>().start().await?;
    let (ann, bob) = (cluster.actor::<Account>("ann"), cluster.actor::<Account>("bob"));
    ann.deposit(100, "cash".to_owned()).await?;
    println!("ann has {}", ann.transfer("bob".to_owned(), 30).deadline(Duration::from_secs(2)).await?);
    match ann.transfer("bob".to_owned(), 1_000_000).await {
        Err(kelpie::Error::App(refused)) => println!("refused: {refused}"),
        other => println!("{other:?}"),
    }
    println!("bob has {}, perhaps a moment later: messages leave after the commit", bob.balance().await?);
    for entry in ann.statement(3).await? {
        println!("ann's book: +{} -{} {}", entry.added, entry.taken, entry.other);
    }
    cluster.close().await?;
    Ok(())
}

async fn serve(store: &str, address: &str, outside: &str) -> Result<(), Box<dyn Error>> {
    let cluster = kelpie::open(store).actor::<Account>().with(Outside::new(outside)?).start().await?;
    let http = cluster.serve_http(address).start().await?;
    println!("the bank is open at {}", http.url());
    tokio::signal::ctrl_c().await?;
    http.stop().await;
    cluster.close().await?;
    Ok(())
}
