//! Moves money about: `cargo run -p bank`.

use std::time::Duration;

use bank::Account;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is what the example shows")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
