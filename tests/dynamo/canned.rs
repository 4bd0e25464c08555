//! An endpoint that misbehaves in one chosen way.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::read_whole;

/// What it does with every request, once it has read it whole.
#[derive(Clone, Copy, Debug)]
pub enum Habit {
    /// Answers with this status and this error type.
    Answer(u16, &'static str),
    /// Closes the connection without an answer.
    HangUp,
    /// Never answers.
    Silence,
}

/// Starts it; returns its URL. It lives as long as the runtime.
pub async fn endpoint(habit: Habit) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, habit));
        }
    });
    format!("http://{address}")
}

/// An endpoint where nobody listens.
pub async fn closed_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn serve(mut connection: TcpStream, habit: Habit) {
    while read_whole(&mut connection).await.is_some() {
        match habit {
            Habit::HangUp => return,
            Habit::Silence => std::future::pending().await,
            Habit::Answer(status, kind) => {
                let body = format!(r#"{{"__type":"com.amazon#{kind}","message":"canned"}}"#);
                let answer = format!(
                    "HTTP/1.1 {status} Canned\r\ncontent-type: application/x-amz-json-1.0\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }
}
