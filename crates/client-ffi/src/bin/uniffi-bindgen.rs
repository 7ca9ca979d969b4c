//! Writes the Swift, Kotlin and Python sources of a built library; `generate.sh` calls it.

fn main() {
    uniffi::uniffi_bindgen_main();
}
