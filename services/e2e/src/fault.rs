//! One HTTP request on its way to S3, and what may happen to it there. Each has a connection of its own, so that
//! every request can meet another fault; nothing in here knows what is asked for.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use fastrand::Rng;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, copy_bidirectional, sink},
    net::TcpStream,
};

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and the error of S3 that goes with it, and the server never sees it. With 409,
    /// only what is to be created: S3 says it of nothing else.
    Status(u16),
    /// The server does it, and nobody is told.
    Swallow,
    /// The connection breaks in the middle of the request: in its body, if it has one.
    CutRequest,
    /// The connection breaks in the middle of the answer.
    CutAnswer,
}

/// As much of a request without a body as is sent where it is cut, in bytes: less than its first word. moto takes a head
/// that ends early for a whole one, and would make an empty object of a PUT whose length was cut off.
const UNMISTAKABLE: usize = 3;

/// The longest head that is read, in bytes.
const LONGEST_HEAD: u64 = 64 * 1024;

/// A fault for every other request.
pub(crate) fn draw(rng: &mut Rng) -> Option<Fault> {
    match rng.u8(..16) {
        0 | 1 => Some(Fault::Status(500)),
        2 | 3 => Some(Fault::Status(503)),
        4 => Some(Fault::Status(409)),
        5 => Some(Fault::Swallow),
        6 => Some(Fault::CutRequest),
        7 => Some(Fault::CutAnswer),
        _ => None,
    }
}

/// Passes one request on, or not; `met` counts those to which something happened.
pub(crate) async fn one_request(
    client: TcpStream,
    server: &str,
    fault: Option<Fault>,
    rng: &mut Rng,
    met: &AtomicU64,
) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let head = Head::read(&mut client).await?;
    let fault = fault.filter(|fault| *fault != Fault::Status(409) || head.creates);
    met.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
    if let Some(Fault::Status(status)) = fault {
        // A client that is still sending would take the end of the connection for the answer.
        copy(&mut (&mut client).take(head.length), &mut sink()).await?;
        return client.write_all(error(status).as_bytes()).await;
    }
    let mut server = BufReader::new(TcpStream::connect(server).await?);
    if fault == Some(Fault::CutRequest) {
        if head.length == 0 {
            return server.write_all(&head.text[..UNMISTAKABLE]).await;
        }
        server.write_all(&head.text).await?;
        return copy(&mut (&mut client).take(rng.u64(..head.length)), &mut server).await.map(|_| ());
    }
    server.write_all(&head.text).await?;
    if fault.is_none() {
        return copy_bidirectional(&mut client, &mut server).await.map(|_| ());
    }
    let (mut answers, mut requests) = tokio::io::split(server);
    let request = copy(&mut client, &mut requests);
    if fault == Some(Fault::Swallow) {
        // Until the client has had enough of waiting.
        let mut nobody = sink();
        let (request, _) = tokio::join!(request, copy(&mut answers, &mut nobody));
        return request.map(|_| ());
    }
    let mut answers = BufReader::new(answers);
    let answer = tokio::select! {
        answer = Head::read(&mut answers) => answer?,
        request = request => return request.map(|_| ()),
    };
    let body = if head.text.starts_with(b"HEAD ") { 0 } else { answer.length };
    let sent = rng.u64(1..answer.text.len() as u64 + body);
    let of_head = answer.text.len().min(usize::try_from(sent).unwrap_or(usize::MAX));
    client.write_all(&answer.text[..of_head]).await?;
    copy(&mut answers.take(sent - of_head as u64), &mut client).await.map(|_| ())
}

/// All that stands before the body, of a request or an answer; it says that the connection ends after it.
struct Head {
    text: Vec<u8>,
    /// Of the body, in bytes.
    length: u64,
    /// Whether the request is a create-only PUT.
    creates: bool,
}

impl Head {
    async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Self> {
        let mut from = from.take(LONGEST_HEAD);
        let (mut text, mut length, mut creates) = (Vec::new(), 0, false);
        loop {
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b"\r\n" {
                text.extend(b"connection: close\r\n\r\n");
                return Ok(Self { text, length, creates });
            }
            let header = String::from_utf8_lossy(&line).to_ascii_lowercase();
            match header.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("connection", _)) => continue,
                Some(("content-length", value)) => length = value.parse().unwrap_or(0),
                Some(("if-none-match", _)) => creates = true,
                _ => {}
            }
            text.extend(line);
        }
    }
}

/// An answer as S3 gives it.
fn error(status: u16) -> String {
    let code = match status {
        409 => "ConditionalRequestConflict",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Trouble on purpose.</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} Trouble\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}
