//! A collector for tests: takes what is sent by OTLP/HTTP, answers as it is told, and says what came.
//!
//! It is strict where a real one is, and panics when something is not as OTLP wants it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value},
    trace::v1,
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc};

use crate::{Endpoint, Sender};

/// A secret that [`Collector::sender`] sends along, for tests that look for it where it must not be.
pub const SECRET: &str = "topsecret";

/// A request that came.
#[derive(Debug)]
#[non_exhaustive]
pub struct Taken {
    /// Where to.
    pub path: String,
    /// With what.
    pub headers: HeaderMap,
    /// The protobuf.
    pub body: Bytes,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and nothing else.
    Status(u16),
    /// A status, and `Retry-After`.
    RetryAfter(u16, &'static str),
    /// 200 with so many bytes.
    Large(usize),
    /// Nothing, for ever.
    Never,
}

/// A span that came, with what tests ask for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpanTaken {
    /// `service.name` of whoever made it.
    pub service: String,
    /// All of it.
    pub span: v1::Span,
    resource: Vec<KeyValue>,
}

/// The collector. Dropped, it goes on listening while its runtime lives.
#[derive(Debug)]
pub struct Collector {
    /// Its base URL.
    pub url: String,
    taken: mpsc::UnboundedReceiver<Taken>,
    spans: VecDeque<SpanTaken>,
    answer: Arc<Mutex<Answer>>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Listens here.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free address");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (told, taken) = mpsc::unbounded_channel();
        let answer = Arc::new(Mutex::new(Answer::Status(200)));
        let says = answer.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (told, says) = (told.clone(), says.clone());
                let service = service_fn(move |request| take(request, told.clone(), says.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Collector { url, taken, spans: VecDeque::new(), answer }
    }

    /// Answers so from now on.
    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with it") = answer;
    }

    /// A way here that waits for an answer longer than any test, with [`SECRET`] in a header.
    ///
    /// # Panics
    /// Never.
    pub fn sender(&self) -> Sender {
        sender(&self.url, Duration::from_secs(60))
    }

    /// The next request of any kind.
    ///
    /// # Panics
    /// When none comes within a minute.
    pub async fn request(&mut self) -> Taken {
        let next = tokio::time::timeout(Duration::from_secs(60), self.taken.recv()).await;
        next.expect("a request came").expect("the collector lives")
    }

    /// The next span, waiting for it.
    ///
    /// # Panics
    /// When none comes within a minute, or what comes is no batch of spans.
    pub async fn span(&mut self) -> SpanTaken {
        loop {
            if let Some(span) = self.spans.pop_front() {
                return span;
            }
            let taken = self.request().await;
            self.spans.extend(spans(&taken));
        }
    }

    /// The next span of this name; those before it are kept.
    ///
    /// # Panics
    /// As [`span`](Self::span).
    pub async fn span_named(&mut self, name: &str) -> SpanTaken {
        let mut others = VecDeque::new();
        let found = loop {
            let span = self.span().await;
            if span.span.name == name {
                break span;
            }
            others.push_back(span);
        };
        others.append(&mut self.spans);
        self.spans = others;
        found
    }

    /// The spans that have come and that nobody has asked for.
    ///
    /// # Panics
    /// When something came that is no batch of spans.
    pub fn rest(&mut self) -> Vec<SpanTaken> {
        while let Ok(taken) = self.taken.try_recv() {
            self.spans.extend(spans(&taken));
        }
        self.spans.drain(..).collect()
    }
}

/// A way to a URL, with [`SECRET`] in a header.
///
/// # Panics
/// When it is no base URL.
pub fn sender(url: &str, timeout: Duration) -> Sender {
    let headers = format!("authorization=Bearer%20{SECRET}");
    Sender::new(Endpoint::parse(url, &headers, timeout).expect("a base URL")).expect("no TLS, no roots")
}

impl SpanTaken {
    /// An attribute as text.
    pub fn attribute(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }

    /// An attribute of the resource as text.
    pub fn resource(&self, name: &str) -> Option<String> {
        text(&self.resource, name)
    }

    /// What kind it is: `Producer`, `Consumer` and so on.
    pub fn kind(&self) -> String {
        format!("{:?}", self.span.kind())
    }

    /// Whether it is a child of `parent`, in the same trace.
    pub fn is_child_of(&self, parent: &SpanTaken) -> bool {
        self.span.trace_id == parent.span.trace_id && self.span.parent_span_id == parent.span.span_id
    }
}

async fn take(
    request: Request<Incoming>,
    told: mpsc::UnboundedSender<Taken>,
    says: Arc<Mutex<Answer>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(with(400, Bytes::new()));
    };
    let _ = told.send(Taken { path: head.uri.path().to_owned(), headers: head.headers, body: body.to_bytes() });
    let answer = says.lock().expect("nobody panics with it").clone();
    Ok(match answer {
        Answer::Status(status) => with(status, Bytes::new()),
        Answer::Large(bytes) => with(200, vec![0; bytes].into()),
        Answer::RetryAfter(status, after) => {
            let mut response = with(status, Bytes::new());
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static(after));
            response
        }
        Answer::Never => std::future::pending().await,
    })
}

fn with(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body)).expect("a status")
}

fn spans(taken: &Taken) -> Vec<SpanTaken> {
    assert_eq!(taken.path, "/v1/traces");
    assert_eq!(taken.headers["content-type"], "application/x-protobuf");
    let batch = ExportTraceServiceRequest::decode(taken.body.clone()).expect("a batch of spans");
    let mut spans = Vec::new();
    for of_resource in batch.resource_spans {
        let resource = of_resource.resource.unwrap_or_default().attributes;
        let service = text(&resource, "service.name").unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(SpanTaken { service: service.clone(), span, resource: resource.clone() });
        }
    }
    spans
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(is) => is.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
