//! The files of a page, as they lie in a folder: with their types, `ETag`-less but dated, and compressed where a file
//! beside them is (`.br`, `.gz`).

use std::path::Path;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    routing::get_service,
};
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

/// Scripts and styles from here only, nothing in a page of somebody else, connections to gateways anywhere: the page
/// may be pointed at another one.
const POLICY: &str = "default-src 'self'; connect-src 'self' http: https: ws: wss:; img-src 'self' data:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves a folder. A name that is in none of its files is a 404.
pub(super) fn service(folder: &Path) -> Router {
    let files = ServeDir::new(folder).precompressed_br().precompressed_gzip();
    let set = |name: HeaderName, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    Router::new()
        .fallback_service(get_service(files))
        .layer(set(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        // A page that is out of date by a release is asked for again, and found to be the same by its date.
        .layer(set(header::CACHE_CONTROL, "no-cache"))
}
