use kelpie_core::advice::Advice;
use kelpie_core::call::{IdempotencyKey, OutboxPosition};
use kelpie_core::id::{Epoch, Seq};

use super::*;
use crate::typed::{Error, Misfit};

fn actor(key: &str) -> ActorId {
    ActorId::new("t", "a", key).unwrap()
}

#[test]
fn a_call_arrives_as_it_was_with_the_rest_of_its_time() {
    let caller = Caller::Actor(actor("sender"));
    let at = OutboxPosition { epoch: Epoch(3), seq: Seq(4), index: 5 };
    let request = Request {
        key: CallKey::new(&caller, &IdempotencyKey::new("key").unwrap()),
        fingerprint: Fingerprint::new(&actor("x"), "add", b"1"),
        actor: actor("x"),
        operation: "add".to_owned(),
        payload: Bytes::from_static(b"1"),
        caller,
        fresh: false,
        deadline: Duration::from_secs(100),
        chain: vec![actor("y"), actor("z")],
        mark: Some(Mark { position: at, low: at }),
        keep: Keep::Owed,
        trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
    };
    assert!(request.trace.is_some());
    let call = RemoteCall::new(&request, RemoteTask::Handle, Duration::from_secs(7), Why::Called);
    let Question::Call(arrived) = decode(&encode(&Question::Call(Box::new(call)))).unwrap() else {
        panic!("a call")
    };
    let arrived = arrived.into_request(Duration::from_secs(1_000)).unwrap();
    let expected = Request { deadline: Duration::from_secs(1_007), ..request };
    assert_eq!(format!("{arrived:?}"), format!("{expected:?}"));
}

#[test]
fn errors_arrive_with_their_code_their_advice_and_their_words() {
    let handler = |error: TurnError| CallError::Handler(Arc::new(error));
    let nested = TurnError::Call(Box::new(CallError::KeyReused));
    let misfit = Misfit::Arguments {
        operation: "add".to_owned(),
        argument: Some("by".to_owned()),
        reason: "no number".to_owned(),
    };
    let no_handler = Misfit::NoHandler { actor_type: "a".into(), operation: "sub".to_owned() };
    let errors = [
        CallError::App { code: "own".into(), message: "why".into(), detail: Some(Bytes::from_static(b"{}")) },
        CallError::KeyReused,
        CallError::NoSuchType { actor_type: "b".to_owned() },
        CallError::TooLarge { what: "the payload".into(), bytes: 3, bytes_max: 2 },
        CallError::Cycle { chain: "a -> a".to_owned() },
        CallError::Deadlock { cycle: "a -> b -> a".to_owned() },
        CallError::TooDeep,
        CallError::MailboxFull,
        CallError::TooMany { of: "calls".into(), retry_after: Duration::from_millis(5) },
        CallError::TooLate,
        CallError::ShuttingDown,
        CallError::NotReady { cause: "silent".to_owned() },
        CallError::NotRun { reason: "store".to_owned() },
        CallError::Full(kelpie_core::capacity::Full { max: 7 }),
        CallError::Panicked,
        handler(nested),
        handler(misfit.into()),
        handler(no_handler.into()),
        CallError::NotARead { operation: "add".to_owned() },
        CallError::Unknown,
    ];
    for error in errors {
        let travelled =
            |error: &CallError| decode::<RemoteError>(&encode(&RemoteError::of(error))).unwrap().into_error();
        // Over one node and over two.
        for arrived in [travelled(&error), travelled(&travelled(&error))] {
            assert_eq!((arrived.code(), arrived.advice()), (error.code(), error.advice()));
            assert_eq!(describe(&arrived), describe(&error));
            assert_eq!(Error::from(&arrived), Error::from(&error));
            if let (CallError::Handler(there), CallError::Handler(here)) = (&arrived, &error) {
                assert_eq!(there.misfit(), here.misfit());
            }
            if let (CallError::App { detail, .. }, CallError::App { detail: sent, .. }) = (&arrived, &error) {
                assert_eq!(detail, sent);
            }
        }
    }
}

#[test]
fn a_reply_that_is_too_large_for_a_frame_is_an_error() {
    let large = Answer::of_outcome(None, Ok(vec![0; REPLY_BYTES_MAX + 1].into()));
    let Verdict::Error(error) = large.verdict else { panic!("too large") };
    assert_eq!(error.into_error().advice(), Advice::Fix);
}

#[test]
fn what_exceeds_the_limits_is_refused_and_rubbish_is_an_error() {
    let call = |payload: usize, operation: usize, depth: usize| RemoteCall {
        task: RemoteTask::Handle,
        actor: actor("x"),
        operation: "o".repeat(operation),
        payload: vec![0; payload].into(),
        caller: Caller::Runtime,
        key: CallKey([1; 16]),
        fresh: true,
        fingerprint: Fingerprint([1; 32]),
        remaining: Duration::MAX,
        chain: vec![actor("y"); depth],
        mark: None,
        keep: Keep::Owed,
        trace: None,
        why: Why::Called,
    };
    call(limits::PAYLOAD_BYTES_MAX, limits::OPERATION_BYTES_MAX, limits::CALL_DEPTH_MAX)
        .into_request(Duration::MAX)
        .unwrap();
    for wrong in [
        call(limits::PAYLOAD_BYTES_MAX + 1, 1, 1),
        call(1, limits::OPERATION_BYTES_MAX + 1, 1),
        call(1, 1, limits::CALL_DEPTH_MAX + 1),
    ] {
        assert_eq!(wrong.into_request(Duration::ZERO).unwrap_err().advice(), Advice::Fix);
    }
    bolero::check!().with_iterations(5_000).with_type::<Vec<u8>>().for_each(|bytes| {
        if let Ok(question) = decode::<Question>(bytes) {
            assert_eq!(decode::<Question>(&encode(&question)), Ok(question));
        }
        drop(decode::<Answer>(bytes));
        drop(decode::<Note>(bytes));
    });
}
