//! Undoing the client's masking (RFC 6455 §5.3), eight bytes at a time.

/// XORs `payload` with the repeated `key`, in place. Applied twice it changes nothing.
pub(super) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Words are two keys long, so the remainder begins with the first byte of the key again.
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key for the bytes that follow the first `len` bytes of a payload.
pub(super) fn advance(mut key: [u8; 4], len: usize) -> [u8; 4] {
    key.rotate_left(len % 4);
    key
}
