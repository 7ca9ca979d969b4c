//! What signing in needs around the gateway: somebody who makes keys and tokens, an endpoint that publishes the keys, a
//! session service. Also part of the unit tests.
#![allow(dead_code, reason = "each test binary needs another part")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use rsa::{
    RsaPrivateKey,
    pkcs1::EncodeRsaPrivateKey as _,
    pkcs8::{EncodePublicKey as _, LineEnding},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A secret and what it signs, for HS256 and its kin.
pub(crate) const SECRET: &str = "a secret of more than sixty-four bytes, which is enough for all of HMAC";

/// The claims of a token that is good for ten minutes.
pub(crate) fn claims(sub: &str) -> Value {
    json!({"sub": sub, "iat": now_s(), "exp": now_s() + 600})
}

/// A token signed with [`SECRET`].
pub(crate) fn hs256(claims: &Value) -> String {
    sign(&json!({"alg": "HS256", "typ": "JWT"}), claims, &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)
}

/// A token of any header and any claims, signed so, whatever the header says.
pub(crate) fn sign(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = unsigned(&header.to_string(), &claims.to_string());
    let signature = crypto::sign(message.as_bytes(), key, algorithm).expect("a key of the right kind");
    format!("{message}.{signature}")
}

/// The first two parts of a token.
pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A key pair of an issuer.
pub(crate) struct IssuerKey {
    pub(crate) private: EncodingKey,
    pub(crate) public_pem: String,
    pub(crate) private_pem: String,
    public: DecodingKey,
    algorithm: Algorithm,
}

/// Making one takes long, so all tests of a process share it.
static RSA: LazyLock<IssuerKey> = LazyLock::new(|| IssuerKey::new_rsa(2_048));

impl IssuerKey {
    /// For RS256 and its kin. Always the same.
    pub(crate) fn rsa() -> &'static Self {
        &RSA
    }

    /// Another one.
    pub(crate) fn new_rsa(bits: usize) -> Self {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).expect("a key");
        let public_pem = key.to_public_key().to_public_key_pem(LineEnding::LF).expect("a key");
        Self {
            private: EncodingKey::from_rsa_der(key.to_pkcs1_der().expect("a key").as_bytes()),
            private_pem: key.to_pkcs1_pem(LineEnding::LF).expect("a key").to_string(),
            public: DecodingKey::from_rsa_pem(public_pem.as_bytes()).expect("a key"),
            public_pem,
            algorithm: Algorithm::RS256,
        }
    }

    /// A new key for ES256.
    pub(crate) fn p256() -> Self {
        Self::new_ec(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256)
    }

    /// A new key for ES384.
    pub(crate) fn p384() -> Self {
        Self::new_ec(&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384)
    }

    fn new_ec(kind: &'static rcgen::SignatureAlgorithm, algorithm: Algorithm) -> Self {
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key");
        let public_pem = pair.public_key_pem();
        Self {
            private: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key"),
            private_pem: pair.serialize_pem(),
            public: DecodingKey::from_ec_pem(public_pem.as_bytes()).expect("a key"),
            public_pem,
            algorithm,
        }
    }

    /// A new key for EdDSA.
    pub(crate) fn ed25519() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let public_pem = pair.public_key_pem();
        Self {
            private: EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key"),
            private_pem: pair.serialize_pem(),
            public: DecodingKey::from_ed_pem(public_pem.as_bytes()).expect("a key"),
            public_pem,
            algorithm: Algorithm::EdDSA,
        }
    }

    /// A token with the usual header of this key.
    pub(crate) fn token(&self, id: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let Some(id) = id {
            header["kid"] = id.into();
        }
        sign(&header, claims, &self.private, self.algorithm)
    }

    /// The public key as a set publishes it, without `alg` and `use`.
    pub(crate) fn jwk(&self, id: Option<&str>) -> Value {
        let jwk = Jwk::from_decoding_key(&self.public, None).expect("a key");
        let mut jwk = serde_json::to_value(jwk).expect("texts");
        if let Some(id) = id {
            jwk["kid"] = id.into();
        }
        jwk
    }
}

/// What a [`KeyServer`] answers.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// 200 and a set of these keys.
    Keys(Vec<Value>),
    /// 200 and this.
    Text(String),
    /// This status line, and headers, each with its line end.
    Status(&'static str, String),
    /// Nothing: the connection stays open.
    Nothing,
    /// 200 and a body without an end.
    Endless,
    /// The end of the connection, in the middle of the answer.
    Half,
}

/// An endpoint that publishes keys, over HTTP or TLS.
#[derive(Debug)]
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl KeyServer {
    pub(crate) async fn start(says: Says) -> Self {
        Self::serve(says, None).await
    }

    pub(crate) async fn start_tls(says: Says, tls: tokio_rustls::TlsAcceptor) -> Self {
        Self::serve(says, Some(tls)).await
    }

    async fn serve(says: Says, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let says = Arc::new(Mutex::new(says));
        let (count, asked) = watch::channel(0);
        let answers = says.clone();
        let task = tokio::spawn(async move {
            let count = Arc::new(count);
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (says, count, tls) = (answers.clone(), count.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, &says, &count).await;
                            }
                        }
                        None => answer(stream, &says, &count).await,
                    }
                });
            }
        });
        Self { address, says, asked, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().expect("no panic inside") = says;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn asked_at_least(&self, times: usize) {
        self.asked.clone().wait_for(|asked| *asked >= times).await.expect("the server runs");
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request of a connection.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, says: &Mutex<Says>, count: &watch::Sender<usize>) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(n) if n > 0 => request.extend_from_slice(&piece[..n]),
            _ => return,
        }
    }
    count.send_modify(|count| *count += 1);
    let says = says.lock().expect("no panic inside").clone();
    let ok = |body: String| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let is_endless = matches!(says, Says::Endless);
    let text = match says {
        Says::Keys(keys) => ok(json!({ "keys": keys }).to_string()),
        Says::Text(text) => ok(text),
        Says::Status(status, headers) => format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n"),
        Says::Nothing => {
            // Until the other side gives up.
            let _ = stream.read(&mut piece).await;
            return;
        }
        Says::Endless => "HTTP/1.1 200 OK\r\n\r\n{\"keys\":[".to_owned(),
        Says::Half => "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n{\"keys\":[".to_owned(),
    };
    let _ = stream.write_all(text.as_bytes()).await;
    while is_endless && stream.write_all(&[b' '; 4096]).await.is_ok() {}
    let _ = stream.shutdown().await;
}

/// A service that says who a session is.
#[derive(Debug)]
pub(crate) struct SessionService {
    questions: watch::Receiver<Vec<Value>>,
    task: JoinHandle<()>,
}

impl SessionService {
    /// Answers what is asked on `subject`; `None` is silence.
    pub(crate) async fn start(
        nats_url: &str,
        subject: &str,
        answer: impl Fn(&Value) -> Option<String> + Send + 'static,
    ) -> Self {
        let client = async_nats::connect(nats_url).await.expect("a connection");
        let mut requests = client.subscribe(subject.to_owned()).await.expect("a subscription");
        // Once something has come back on the same connection, the server knows the subscription.
        let echo = client.new_inbox();
        let mut echoes = client.subscribe(echo.clone()).await.expect("a subscription");
        client.publish(echo, "".into()).await.expect("a connection");
        echoes.next().await.expect("a connection");
        let (seen, questions) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let question: Value = serde_json::from_slice(&request.payload).expect("a question");
                let answer = answer(&question);
                seen.send_modify(|seen| seen.push(question));
                if let (Some(answer), Some(reply)) = (answer, request.reply) {
                    client.publish(reply, answer.into()).await.expect("a connection");
                }
            }
        });
        Self { questions, task }
    }

    /// All questions so far.
    pub(crate) fn questions(&self) -> Vec<Value> {
        self.questions.borrow().clone()
    }

    /// Waits until there were so many.
    pub(crate) async fn asked_at_least(&self, times: usize) {
        self.questions.clone().wait_for(|seen| seen.len() >= times).await.expect("the service runs");
    }
}

impl Drop for SessionService {
    fn drop(&mut self) {
        self.task.abort();
    }
}
