//! The sources for Swift and Kotlin, which nothing here can compile: what an app calls must at least be in them.

use std::path::Path;

use tempfile::TempDir;

use crate::support::generate;

/// Text of a generated file, its white space made one.
fn text(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_has(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part} is not there");
    }
}

#[test]
fn swift_has_the_whole_interface() {
    let folder = TempDir::new().expect("a temporary folder");
    generate("swift", folder.path());
    let source = text(folder.path(), "Odin.swift");
    assert_has(
        &source,
        &[
            "open class OdinClient",
            "static func connect(options: OdinOptions, listener: OdinListener)throws -> OdinClient",
            "func subscribe(channel: String, since: String? = nil, mode: OdinMode? = nil)async throws",
            "func unsubscribe(channel: String)async throws",
            "func publish(channel: String, json: String)async throws -> OdinPublished",
            "func cursor(channel: String) -> String?",
            "func close()async",
            "public protocol OdinListener",
            "func onEvent(event: OdinEvent) throws",
            "public protocol OdinTokenSource",
            "func token() async throws -> String",
            "public struct OdinOptions",
            "public enum OdinEvent",
            "case reconnecting(",
            "afterMs: UInt64",
            "public enum OdinPublishError",
            "case Refused(",
        ],
    );
    text(folder.path(), "OdinFFI.h");
    text(folder.path(), "OdinFFI.modulemap");
}

#[test]
fn kotlin_has_the_whole_interface() {
    let folder = TempDir::new().expect("a temporary folder");
    generate("kotlin", folder.path());
    let source = text(folder.path(), "dev/odin/client/ffi/odin_client.kt");
    assert_has(
        &source,
        &[
            "package dev.odin.client.ffi",
            "open class OdinClient: Disposable, AutoCloseable",
            "fun connect(options: OdinOptions, listener: OdinListener): OdinClient",
            "suspend fun subscribe(channel: kotlin.String, since: kotlin.String? = null, mode: OdinMode? = null)",
            "suspend fun unsubscribe(channel: kotlin.String)",
            "suspend fun publish(channel: kotlin.String, json: kotlin.String): OdinPublished",
            "fun cursor(channel: kotlin.String): kotlin.String?",
            "suspend fun shutdown()",
            "interface OdinListener",
            "fun onEvent(event: OdinEvent)",
            "interface OdinTokenSource",
            "suspend fun token(): kotlin.String",
            "data class OdinOptions",
            "sealed class OdinEvent",
            "sealed class OdinPublishException",
        ],
    );
    // a second close(), which objects have of their own, would not compile
    assert!(!source.contains("suspend fun close("));
}
