//! A collector: takes what is sent by OTLP/HTTP, and answers as it is told.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use odin_telemetry::{Endpoint, Sender};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc};

/// What came: path, headers, body.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) path: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16),
    RetryAfter(u16, &'static str),
    /// Of so many bytes.
    Large(usize),
    Never,
}

#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) url: String,
    pub(crate) taken: mpsc::UnboundedReceiver<Taken>,
    answer: Arc<Mutex<Answer>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (told, taken) = mpsc::unbounded_channel();
        let answer = Arc::new(Mutex::new(Answer::Status(200)));
        let says = answer.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (told, says) = (told.clone(), says.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (told, says) = (told.clone(), says.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let _ = told.send(Taken { path: head.uri.path().to_owned(), headers: head.headers, body });
                        let answer = says.lock().unwrap().clone();
                        Ok::<_, Infallible>(match answer {
                            Answer::Status(status) => with(status, Bytes::new()),
                            Answer::Large(bytes) => with(200, vec![0; bytes].into()),
                            Answer::RetryAfter(status, after) => {
                                let mut response = with(status, Bytes::new());
                                response.headers_mut().insert("retry-after", after.parse().unwrap());
                                response
                            }
                            Answer::Never => std::future::pending().await,
                        })
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Collector { url, taken, answer }
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn sender(&self) -> Sender {
        sender(&self.url, Duration::from_secs(20))
    }

    /// The next batch of spans.
    pub(crate) async fn batch(&mut self) -> ExportTraceServiceRequest {
        let taken = self.taken.recv().await.unwrap();
        assert_eq!(taken.path, "/v1/traces");
        ExportTraceServiceRequest::decode(taken.body).unwrap()
    }
}

pub(crate) fn sender(url: &str, timeout: Duration) -> Sender {
    Sender::new(Endpoint::parse(url, "authorization=Bearer%20topsecret", timeout).unwrap()).unwrap()
}

fn with(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body)).unwrap()
}
