//! Places three orders and waits for their end: `cargo run -p order-saga`.

use std::time::Duration;

use order_saga::bank::{Bank, LIMIT};
use order_saga::{Order, Status, WAREHOUSE, Warehouse};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is what the example shows")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bank = Bank::default();
    let cluster =
        kelpie::open("memory:").actor::<Order>().actor::<Warehouse>().with(bank.clone()).start().await?;
    cluster.actor::<Warehouse>(WAREHOUSE).stock("kite".to_owned(), 1).await?;
    for (number, item, amount) in [("1", "kite", 30), ("2", "boat", 40), ("3", "kite", LIMIT)] {
        let order = cluster.actor::<Order>(number);
        let mut status = order.place(item.to_owned(), amount).idempotent(format!("place {number}")).await?;
        println!("order {number}, a {item} for {amount}: {status:?}");
        while !matches!(status, Status::Done | Status::GivenUp | Status::Declined) {
            cluster.runtime().env().sleep(Duration::from_millis(100)).await;
            status = order.status().await?;
        }
        println!("order {number}: {status:?}, {:?}", bank.account(number));
    }
    cluster.close().await?;
    Ok(())
}
