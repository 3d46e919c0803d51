//! Servers that know each other by certificates, on one database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use super::fresh;
use super::nodes::{owner, say};
use crate::process::{Plan, client, create_agent, get, run, says, text};

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Where a node's files are.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A certificate for that name, in files.
    fn certify(&self, dir: &Path, name: &str) -> Files {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate").pem();
        let file = |end: &str, text: &str| {
            let path = dir.join(format!("{name}.{end}"));
            std::fs::write(&path, text).expect("a file");
            path
        };
        let authority = file("ca.pem", &self.0.as_ref().pem());
        Files { certificate: file("pem", &certificate), key: file("key", &key.serialize_pem()), authority }
    }
}

/// A server with these files. The long lease leaves nobody time to claim an actor over.
async fn plan(dir: &Path, store: &str, name: &str, files: &Files) -> Plan {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    let plan = Plan::new(&dir).await.on(store).arg("--node", name).arg("--advertise", "127.0.0.1:0");
    plan.arg("--peer-certificate", files.certificate.display())
        .arg("--peer-key", files.key.display())
        .arg("--peer-authority", files.authority.display())
        .arg("--lease-term", 60)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_one_authority_serve_together_and_nothing_comes_through_from_another_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, authority) = (fresh(), Authority::new());
    let one = plan(dir.path(), &store, "n1", &authority.certify(dir.path(), "n1")).await;
    let one = one.arg("--label", "zone=a").arg("--label", "gpu").arg("--capacity", 50);
    let two = plan(dir.path(), &store, "n2", &authority.certify(dir.path(), "n2")).await;
    let two = two.arg("--placement", "round_robin");
    let servers = [one.start().await, two.start().await];
    let listed = get(&client(), &format!("{}/v1/cluster/nodes", two.url())).await;
    assert_eq!(listed["nodes"][0]["labels"], json!(["gpu", "zone=a"]), "{listed}");
    assert_eq!(listed["nodes"][0]["capacity"], 50, "{listed}");

    // Each of the two has an agent soon, and both answer for both.
    let mut agents = BTreeMap::new();
    for number in 0..10 {
        let agent = create_agent(&client(), &two.url(), &format!("agent {number}"), &[]).await;
        let why = get(&client(), &format!("{}/v1/actors/agent/{agent}/why", one.url())).await;
        assert_eq!(why["placement"]["reason"], "round_robin", "{why}");
        for (n, plan) in [&one, &two].into_iter().enumerate() {
            say(plan, &agent, &format!("{number}-{n}")).await;
        }
        agents.insert(owner(&one, &agent).await, agent);
        if agents.len() == 2 {
            break;
        }
    }
    let agent = agents.get(&0).expect("n1 has one");
    assert!(agents.contains_key(&1), "n2 has one");

    // A third one has the name right and the authority wrong. It meets the others in the store.
    let other = Authority::new().certify(dir.path(), "n3");
    let three = plan(dir.path(), &store, "n3", &other).await;
    let stranger = three.start().await;
    let url = format!("{}/v1/agents/{agent}/messages", three.url());
    let asked = client().post(&url).json(&says("Say stranger")).timeout(Duration::from_secs(5));
    match asked.send().await {
        Ok(answer) => assert!(matches!(answer.status().as_u16(), 503 | 504), "{answer:?}"),
        Err(waited) => assert!(waited.is_timeout(), "{waited}"),
    }
    let said = get(&client(), &format!("{}/v1/agents/{agent}/messages?limit=1000", one.url())).await;
    assert!(!said.to_string().contains("stranger"), "it came through: {said}");
    assert!(three.logged().contains("no connection to a node"), "{}", three.logged());
    assert!(three.logged().contains("certificate"), "{}", three.logged());
    assert!(one.logged().contains("a peer is not let in"), "{}", one.logged());
    say(&two, agent, "after").await;
    stranger.kill().await;
    for server in servers {
        server.kill().await;
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_of_another_name_or_a_lease_out_of_range_does_not_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, files) = (fresh(), Authority::new().certify(dir.path(), "n2"));
    let words = |path: &Path| path.to_str().expect("a path of the test").to_owned();
    let [certificate, key, authority] =
        [&files.certificate, &files.key, &files.authority].map(|file| words(file));
    let certified = ["--peer-certificate", &certificate, "--peer-key", &key, "--peer-authority", &authority];
    let cases: [(&[&str], &str); 5] = [
        (&certified, "does not name node `n1`"),
        (&certified[..4], "--peer-authority"),
        (&["--lease-term", "0"], "1..=60"),
        (&["--lease-term", "61"], "1..=60"),
        (&["--lease-term", "soon"], "invalid digit"),
    ];
    for (args, says) in cases {
        let mut command = vec!["serve", "--listen", "127.0.0.1:0", "--store", &store];
        command.extend(["--node", "n1", "--advertise", "127.0.0.1:0"]);
        command.extend(args);
        let ended = run(&command).await;
        let said = text(&ended.stderr);
        assert!(ended.status.code() == Some(2) && said.contains(says), "{args:?}: {:?} {said}", ended.status);
    }
}
