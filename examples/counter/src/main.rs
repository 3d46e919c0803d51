//! Counts how often it was started: `cargo run -p counter`.

use counter::Counter;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is what the example shows")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = kelpie::open("embedded:./counter-data").actor::<Counter>().start().await?;
    let starts = cluster.actor::<Counter>("starts").add(1).await?;
    println!("started {starts} times; the count is in ./counter-data");
    cluster.close().await?;
    Ok(())
}
