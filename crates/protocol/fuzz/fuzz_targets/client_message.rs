//! Messages of a hostile client into both codecs: no panic, no memory or recursion out of proportion, and what is
//! understood means the same after it has been encoded again.
//!
//! The first byte chooses the codec; the rest is the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odin_protocol::{ClientMessage, Codec};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let codec = Codec::ALL[usize::from(choice) % Codec::ALL.len()];
    match ClientMessage::decode(codec, bytes) {
        Ok(message) => {
            for other in Codec::ALL {
                let encoded = message.encode(other);
                let again = match ClientMessage::decode(other, &encoded) {
                    Ok(again) => again,
                    Err(error) => panic!("own encoding refused: {error:?} {encoded:x?}"),
                };
                assert_eq!(again.encode(codec), message.encode(codec));
            }
        }
        Err(error) => assert!(error.message.len() <= 512, "{}", error.message),
    }
});
