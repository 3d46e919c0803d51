//! What the arguments say about other nodes.

use std::time::Duration;

use kelpie_cluster::{Options, Pem, Protocols, SecretKey, Security, StartError, Tls};
use kelpie_core::id::NodeId;
use kelpie_env::Env;
use kelpie_storage::Store;

use super::assembly::read_bytes;
use crate::args::{PeerArgs, ServeArgs};
use crate::exit::{Exit, Failure};

/// How the node runs among others, if it is to.
pub(super) fn options(
    args: &ServeArgs,
    runtime: &kelpie_runtime::Options,
    store: &Store,
    env: &Env,
) -> Result<Option<Options>, Failure> {
    let Some(advertise) = args.peers.advertise.clone() else { return Ok(None) };
    if store.properties().single_process {
        return Err(Failure::new(Exit::Usage, format!("--advertise: no other node can join {}", args.store))
            .hint("nodes meet in a database: --store postgres://… (KELPIE_STORE_URL)"));
    }
    let mut runtime = runtime.clone();
    runtime.node.capacity = args.peers.capacity;
    runtime.node.labels = args.peers.labels.iter().cloned().collect();
    runtime.placement = args.peers.placement;
    runtime.rebalance = args.peers.rebalance.map(Duration::from_secs);
    let security = security(&args.peers, &runtime.node.node, env)?;
    let listen = args.peers.peer_listen.unwrap_or_else(|| advertise.listen());
    Ok(Some(Options {
        runtime,
        listen,
        advertise: Some(advertise),
        security,
        protocols: Protocols::default(),
    }))
}

fn security(args: &PeerArgs, node: &NodeId, env: &Env) -> Result<Security, Failure> {
    if let Some(secret) = &args.peer_secret {
        let key = SecretKey::new(secret.as_bytes());
        return key.map(Security::Secret).map_err(|error| Failure::new(Exit::Usage, error));
    }
    let (Some(certificate), Some(key), Some(authorities)) =
        (&args.peer_certificate, &args.peer_key, &args.peer_authority)
    else {
        return Ok(Security::Loopback);
    };
    let read = |path: &std::path::Path| {
        read_bytes(path, env)
            .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
    };
    let (authorities, certificate, key) = (read(authorities)?, read(certificate)?, read(key)?);
    let pem = Pem { authorities: &authorities, certificate: &certificate, key: &key };
    let tls = Tls::new(env, node, pem);
    Ok(Security::Tls(tls.map_err(|error| Failure::caused(Exit::Usage, "certificates", &error))?.into()))
}

/// Why a node could not start among others, and what to do.
pub(super) fn not_started(error: &StartError) -> Failure {
    match error {
        StartError::Security(error) => Failure::new(Exit::Usage, error).hint(
            "the same secret on all nodes:  --peer-secret SECRET (KELPIE_PEER_SECRET)\n\
             or certificates:               --peer-certificate, --peer-key, --peer-authority",
        ),
        StartError::NoAddress { .. } | StartError::Unnamed { .. } => {
            Failure::caused(Exit::Usage, "--advertise", error)
                .hint("--advertise HOST:PORT (KELPIE_ADVERTISE)")
        }
        StartError::Listen { address, source } => super::not_listening(*address, source),
        StartError::Runtime(_) => Failure::caused(Exit::Store, "the node cannot join its store", error),
    }
}
