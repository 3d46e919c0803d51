//! What it costs that arguments and replies of typed calls are JSON.

use std::time::Duration;

use kelpie_machine::section::{median, show};
use serde::{Deserialize, Serialize};

const ROUNDS: usize = 9;
const CALLS: u32 = 200_000;

/// Arguments of an ordinary call.
#[derive(Serialize, Deserialize)]
struct Arguments {
    account: String,
    amount: u64,
    note: Option<String>,
}

pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let env = kelpie_env::real::env_on(runtime.handle());
    let arguments = Arguments { account: "alice".to_owned(), amount: 12_345, note: Some("rent".to_owned()) };
    let (mut json, mut packed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        json.push(round(&env, || {
            let bytes = serde_json::to_vec(&arguments).unwrap();
            serde_json::from_slice::<Arguments>(&bytes).unwrap()
        }));
        packed.push(round(&env, || {
            let bytes = rmp_serde::to_vec_named(&arguments).unwrap();
            rmp_serde::from_slice::<Arguments>(&bytes).unwrap()
        }));
    }
    format!(
        "Arguments of a typed call (a string, a number, a string that may be absent), written and read: JSON {}, MessagePack\n\
         with field names {}.\n\n",
        show(median(&json)),
        show(median(&packed)),
    )
}

fn round(env: &kelpie_env::Env, work: impl Fn() -> Arguments) -> Duration {
    let began = env.now();
    for _ in 0..CALLS {
        std::hint::black_box(work());
    }
    env.now().saturating_sub(began) / CALLS
}
