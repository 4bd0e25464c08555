//! An endpoint that misbehaves in one chosen way.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{operation, read_whole};

/// What it does with every request, once it has read it whole.
#[derive(Clone, Copy, Debug)]
pub enum Habit {
    /// Answers with this status and this error type.
    Answer(u16, &'static str),
    /// Answers with this status and this body.
    Say(u16, &'static str),
    /// Answers with these bodies, one after the other, and with the last for ever. One that has a
    /// `__type` is an error of the request, or of the service if that says so; an empty one stands
    /// for a connection that is closed.
    SayInTurn(&'static [&'static str]),
    /// Closes the connection without an answer.
    HangUp,
    /// Never answers.
    Silence,
}

/// An endpoint that runs; it lives as long as the runtime.
pub struct Canned {
    pub url: String,
    requests: Arc<AtomicU32>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// The operations asked for since this was asked last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Requests that came, whole.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Starts it.
pub async fn endpoint(habit: Habit) -> Canned {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU32::new(0));
    let asked = Arc::default();
    let (counted, noted) = (Arc::clone(&requests), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, habit, counted.clone(), Arc::clone(&noted)));
        }
    });
    Canned { url, requests, asked }
}

/// The URL of an endpoint where nobody listens.
pub async fn closed_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// An answer as it goes over the wire.
pub fn answer(status: u16, body: &str) -> Vec<u8> {
    let kind = "application/x-amz-json-1.0";
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Canned\r\ncontent-type: {kind}\r\ncontent-length: ");
    format!("{head}{length}\r\n\r\n{body}").into_bytes()
}

/// The body of an error of this type.
pub fn error(kind: &str) -> String {
    format!(r#"{{"__type":"com.amazon#{kind}","message":"canned"}}"#)
}

async fn serve(
    mut connection: TcpStream,
    habit: Habit,
    requests: Arc<AtomicU32>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    while let Some(request) = read_whole(&mut connection).await {
        asked.lock().unwrap().push(operation(&request));
        let number = requests.fetch_add(1, Ordering::SeqCst) as usize;
        let said = match habit {
            Habit::HangUp => return,
            Habit::Silence => std::future::pending().await,
            Habit::Answer(status, kind) => answer(status, &error(kind)),
            Habit::Say(status, body) => answer(status, body),
            Habit::SayInTurn(bodies) => match bodies[number.min(bodies.len() - 1)] {
                "" => return,
                body if body.contains("#InternalServerError") => answer(500, body),
                body => answer(if body.contains("__type") { 400 } else { 200 }, body),
            },
        };
        connection.write_all(&said).await.unwrap();
    }
}
