use bytes::BufMut;
use kelpie_core::id::{Boot, Incarnation, NodeId};

use super::*;

const CLUSTER: ClusterId = ClusterId(7);
const SPOKEN: Protocols = Protocols { min: PROTOCOL_MIN, max: PROTOCOL_MAX };
const LIMITS: InFlight = InFlight { requests_max: 8, kib_max: 64 };

fn node(name: &str) -> Identity {
    Identity { node: NodeId::new(name).unwrap(), incarnation: Incarnation(1), boot: Boot(42) }
}

fn key(secret: &str) -> Option<SecretKey> {
    Some(SecretKey::new(secret.as_bytes()).unwrap())
}

/// A message with a checksum that fits.
fn sealed(body: &[u8]) -> Bytes {
    let mut bytes = bytes::BytesMut::new();
    bytes.put_u8(HANDSHAKE);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[HANDSHAKE]);
    hasher.update(body);
    bytes.put_u32(hasher.finalize());
    bytes.put_slice(body);
    bytes.freeze()
}

/// Both ends as they are set up, and who may change what is said.
struct Talk<'a> {
    clusters: [ClusterId; 2],
    to: Identity,
    keys: [Option<SecretKey>; 2],
    protocols: [Protocols; 2],
    between: Box<dyn Fn(usize, Bytes) -> Bytes + 'a>,
}

impl Default for Talk<'_> {
    fn default() -> Self {
        Self {
            clusters: [CLUSTER; 2],
            to: node("b"),
            keys: [key("sixteen bytes or more"), key("sixteen bytes or more")],
            protocols: [SPOKEN; 2],
            between: Box::new(|_, bytes| bytes),
        }
    }
}

impl Talk<'_> {
    /// Runs a handshake. What the opener comes to, and what the listener.
    fn run(&self) -> Result<[Agreed; 2], Ended> {
        let [opener_key, listener_key] = self.keys.clone();
        let (mut opener, hello) = Opener::begin(
            self.clusters[0],
            node("a"),
            self.to.clone(),
            [1; 16],
            self.protocols[0],
            opener_key,
        );
        let said = (self.between)(0, hello);
        let (mut called, challenge) = Called::begin(
            self.clusters[1],
            &node("b"),
            [2; 16],
            (LIMITS, self.protocols[1]),
            listener_key,
            &said,
        )?;
        let proof = opener.challenged(&(self.between)(1, challenge))?;
        let welcome = called.proven(&(self.between)(2, proof))?;
        let (opened, confirmed) = opener.welcomed(&(self.between)(3, welcome))?;
        let (from, agreed) = called.confirmed(&(self.between)(4, confirmed))?;
        assert_eq!(from, node("a"));
        Ok([opened, agreed])
    }

    fn refusal(&self) -> Refusal {
        match self.run() {
            Err(Ended::ByUs(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_nodes_agree_with_a_secret_and_without() {
    let agreed = Agreed { protocol: PROTOCOL_MAX, in_flight: LIMITS };
    assert_eq!(Talk::default().run().unwrap(), [agreed; 2]);
    assert_eq!(Talk { keys: [None, None], ..Talk::default() }.run().unwrap(), [agreed; 2]);
}

#[test]
fn each_end_refuses_what_it_must_with_the_reason() {
    let other = Talk { clusters: [CLUSTER, ClusterId(8)], ..Talk::default() };
    assert_eq!(other.refusal(), Refusal::WrongCluster);
    for wanted in [
        node("c"),
        Identity { incarnation: Incarnation(2), ..node("b") },
        Identity { boot: Boot(1), ..node("b") },
    ] {
        let stranger = Talk { to: wanted.clone(), ..Talk::default() };
        assert_eq!(stranger.refusal(), Refusal::WrongNode { wanted: wanted.into(), found: node("b").into() });
    }
    let secrets = [key("sixteen bytes or more"), key("sixteen other bytes"), None];
    for opener in &secrets {
        for listener in secrets.iter().filter(|listener| *listener != opener) {
            let talk = Talk { keys: [opener.clone(), listener.clone()], ..Talk::default() };
            assert_eq!(talk.refusal(), Refusal::WrongSecret);
        }
    }
}

#[test]
fn versions_that_do_not_meet_are_refused() {
    let hello = |protocol_min, protocol_max| Hello {
        protocol_min,
        protocol_max,
        cluster: CLUSTER,
        from: node("a"),
        to: node("b"),
        nonce: [1; 16],
    };
    let begin = |hello| {
        let said = Message::Hello(hello).encode();
        Called::begin(CLUSTER, &node("b"), [2; 16], (LIMITS, SPOKEN), None, &said)
            .map(|(called, _)| called.agreed.protocol)
    };
    assert_eq!(begin(hello(PROTOCOL_MIN, u8::MAX)), Ok(PROTOCOL_MAX));
    for (min, max) in [(PROTOCOL_MAX + 1, u8::MAX), (0, PROTOCOL_MIN - 1), (3, 2)] {
        assert_eq!(begin(hello(min, max)), Err(Ended::ByUs(Refusal::NoCommonVersion { min, max })));
    }
    let (mut opener, _) = Opener::begin(CLUSTER, node("a"), node("b"), [1; 16], SPOKEN, None);
    let challenge = Message::Challenge { protocol: PROTOCOL_MAX + 1, nonce: [2; 16] }.encode();
    assert!(matches!(opener.challenged(&challenge), Err(Ended::ByUs(Refusal::NoCommonVersion { .. }))));
}

#[test]
fn nodes_of_two_builds_speak_the_newest_that_both_know() {
    let spoken = |[a, b]: [(u8, u8); 2]| {
        let [a, b] = [a, b].map(|(min, max)| Protocols { min, max });
        let protocols = |agreed: [Agreed; 2]| agreed.map(|agreed| agreed.protocol);
        let both = [[a, b], [b, a]];
        both.map(|protocols_of| Talk { protocols: protocols_of, ..Talk::default() }.run().map(protocols))
    };
    assert_eq!(spoken([(1, 2), (1, 1)]), [Ok([1, 1]), Ok([1, 1])]);
    assert_eq!(spoken([(1, 2), (2, 3)]), [Ok([2, 2]), Ok([2, 2])]);
    assert_eq!(spoken([(1, 2), (1, 2)]), [Ok([2, 2]), Ok([2, 2])]);
    let refused = |min, max| Err(Ended::ByUs(Refusal::NoCommonVersion { min, max }));
    assert_eq!(spoken([(1, 1), (2, 2)]), [refused(1, 1), refused(2, 2)]);
}

#[cfg(feature = "mutants")]
#[test]
fn a_node_that_speaks_its_newest_is_caught() {
    let _armed = kelpie_core::mutant::arm("speaks_its_newest");
    std::panic::catch_unwind(nodes_of_two_builds_speak_the_newest_that_both_know).unwrap_err();
}

#[test]
fn what_was_said_in_another_handshake_proves_nothing() {
    // A proof that was overheard, with other nonces around it.
    let (mut opener, hello) =
        Opener::begin(CLUSTER, node("a"), node("b"), [1; 16], SPOKEN, key("sixteen bytes or more"));
    let begin = |nonce| {
        Called::begin(CLUSTER, &node("b"), nonce, (LIMITS, SPOKEN), key("sixteen bytes or more"), &hello)
            .unwrap()
    };
    let (mut called, challenge) = begin([2; 16]);
    let proof = opener.challenged(&challenge).unwrap();
    called.proven(&proof).unwrap();
    let (mut again, _) = begin([3; 16]);
    assert_eq!(again.proven(&proof), Err(Ended::ByUs(Refusal::WrongSecret)));
    // A listener that does not know the secret sends the opener's own code back.
    let Ok(Message::Proof { code }) = Message::decode(&proof) else { panic!("a proof") };
    let echo = Message::Welcome { code, in_flight: LIMITS }.encode();
    assert_eq!(opener.welcomed(&echo).map(|(agreed, _)| agreed), Err(Ended::ByUs(Refusal::WrongSecret)));
}

#[test]
fn a_refusal_of_the_peer_is_told() {
    let between = |at, bytes| if at == 1 { refused(&Refusal::Busy) } else { bytes };
    let talk = Talk { between: Box::new(between), ..Talk::default() };
    assert_eq!(talk.run(), Err(Ended::ByPeer(Refusal::Busy)));
}

#[test]
fn no_change_of_what_is_said_goes_through() {
    bolero::check!().with_iterations(5_000).with_type::<(u8, u16, u8, Option<u8>)>().for_each(
        |&(message, place, flip, insert)| {
            let change = |at: usize, bytes: Bytes| {
                if at != usize::from(message % 4) {
                    return bytes;
                }
                let mut changed = bytes[5..].to_vec();
                let place = usize::from(place) % changed.len();
                match insert {
                    Some(byte) => changed.insert(place, byte),
                    None => changed[place] ^= flip.max(1),
                }
                sealed(&changed)
            };
            assert!(Talk { between: Box::new(change), ..Talk::default() }.run().is_err());
        },
    );
}

#[test]
fn no_bytes_make_an_end_panic_or_let_a_stranger_in() {
    bolero::check!().with_iterations(5_000).with_type::<[Vec<u8>; 4]>().for_each(|said| {
        for sealing in [false, true] {
            let said = said.clone().map(|bytes| if sealing { sealed(&bytes) } else { bytes.into() });
            let secret = key("sixteen bytes or more");
            let (mut opener, hello) =
                Opener::begin(CLUSTER, node("a"), node("b"), [1; 16], SPOKEN, secret.clone());
            let began =
                Called::begin(CLUSTER, &node("b"), [2; 16], (LIMITS, SPOKEN), secret.clone(), &said[0]);
            assert!(began.is_err(), "it cannot guess the cluster");
            let (mut called, _) =
                Called::begin(CLUSTER, &node("b"), [2; 16], (LIMITS, SPOKEN), secret, &hello).unwrap();
            assert!(called.proven(&said[1]).is_err(), "it cannot guess the code");
            drop(opener.challenged(&said[2]));
            assert!(opener.welcomed(&said[3]).is_err(), "it cannot guess the code");
        }
    });
}
