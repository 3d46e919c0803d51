use super::*;

/// A frame with a checksum that fits.
fn sealed(body: &[u8]) -> Vec<u8> {
    [&[1][..], &checksum(1, body).to_be_bytes(), body].concat()
}

#[test]
fn frames_come_back_as_they_were() {
    let body = Bytes::from_static(b"body");
    for frame in [
        Frame::Request { id: u64::MAX, remaining_us: 1, body: body.clone() },
        Frame::Reply { id: 0, body: body.clone() },
        Frame::Ended { id: 1 },
        Frame::Cancel { id: 1 },
        Frame::Note { body },
        Frame::Ping,
    ] {
        let bytes = encode(1, &frame);
        assert_eq!(decode::<Frame>(1, &bytes), Ok(frame));
        assert_eq!(decode::<Frame>(2, &bytes), Err(FrameError::Version { found: 1, agreed: 2 }));
        assert_eq!(
            decode::<Frame>(1, &sealed(&[&bytes[5..], b"x"].concat())),
            Err(FrameError::Trailing { bytes: 1 })
        );
        let short = sealed(&bytes[5..bytes.len() - 1]);
        assert!(matches!(decode::<Frame>(1, &short), Err(FrameError::Body(_))));
        for bit in 8..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<Frame>(1, &flipped), Err(FrameError::Checksum));
        }
    }
}

#[test]
fn no_bytes_make_it_panic_or_hold_more_than_came() {
    bolero::check!().with_iterations(20_000).with_type::<Vec<u8>>().for_each(|bytes| {
        assert!(decode::<Frame>(1, bytes).is_err(), "it cannot guess the checksum");
        let bytes = sealed(bytes);
        if let Ok(frame) = decode::<Frame>(1, &bytes) {
            let held = match &frame {
                Frame::Request { body, .. } | Frame::Reply { body, .. } | Frame::Note { body } => body.len(),
                Frame::Ended { .. } | Frame::Cancel { .. } | Frame::Ping => 0,
            };
            assert!(held < bytes.len());
            assert_eq!(decode::<Frame>(1, &encode(1, &frame)), Ok(frame));
        }
    });
}
