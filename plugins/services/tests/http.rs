//! The client against a server on loopback: what it may ask, what it makes of answers, what it does not wait for.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use plugin_api::{HttpClient, HttpError, HttpRequest};
use plugin_services::{Allowed, HttpClients};

/// Reads a request up to its body of `content-length`, and returns all of it.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        read.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

/// Serves connections until the process ends; the answer goes by the path. Returns its address.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                while let Some(asked) = request(&mut stream) {
                    let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
                    if path == "/silent" {
                        // Reads on, and so waits until the client has had enough.
                        continue;
                    }
                    let (status, head, body) = match path.as_str() {
                        "/moved" => ("302 Found", "Location: /echo\r\n", String::new()),
                        "/large" => ("200 OK", "", "x".repeat((4 << 20) + 1)),
                        "/wrong" => ("418 I'm a teapot", "X-Kind: pot\r\n", "short".to_owned()),
                        _ => ("200 OK", "", asked),
                    };
                    let length = body.len();
                    let answer = format!("HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn client(address: SocketAddr) -> Arc<dyn HttpClient> {
    let allowed = Allowed::parse(&format!("http://{address}/")).expect("a URL");
    HttpClients::default().client(vec![allowed])
}

fn get(address: SocketAddr, path: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url: format!("http://{address}{path}"),
        ..HttpRequest::default()
    }
}

#[tokio::test]
async fn requests_and_answers_come_through_whole() {
    let address = serve();
    let client = client(address);
    for _ in 0..3 {
        let mut request = get(address, "/echo?a=b");
        request.method = "POST".to_owned();
        request.headers = vec![("X-Token".to_owned(), "secret".to_owned())];
        request.body = "body".into();
        let answer = client.send(request).await.unwrap();
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        assert_eq!(answer.status, 200);
        assert!(text.starts_with("post /echo?a=b http/1.1\r\n"), "{text}");
        assert!(
            text.contains("x-token: secret\r\n") && text.ends_with("\r\n\r\nbody"),
            "{text}"
        );
    }
    let answer = client.send(get(address, "/wrong")).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (418, &b"short"[..]));
    assert!(answer.headers.contains(&("x-kind".to_owned(), "pot".to_owned())));
}

#[tokio::test]
async fn nobody_is_led_to_where_he_may_not_ask() {
    let address = serve();
    let client = client(address);
    let moved = client.send(get(address, "/moved")).await.unwrap();
    assert_eq!(moved.status, 302, "a redirect is an answer");
    let elsewhere = HttpRequest {
        url: format!("http://localhost:{}/echo", address.port()),
        ..get(address, "")
    };
    let refused = client.send(elsewhere.clone()).await;
    assert_eq!(refused, Err(HttpError::Denied(elsewhere.url)));
    let mut smuggled = get(address, "/echo");
    smuggled.headers = vec![("Host".to_owned(), "other".to_owned())];
    assert!(matches!(client.send(smuggled).await, Err(HttpError::Invalid(_))));
    let mut split = get(address, "/echo");
    split.headers = vec![("X-A".to_owned(), "a\r\nX-B: b".to_owned())];
    assert!(matches!(client.send(split).await, Err(HttpError::Invalid(_))));
}

#[tokio::test]
async fn nothing_is_waited_for_without_end() {
    let address = serve();
    let client = client(address);
    assert_eq!(
        client.send(get(address, "/large")).await,
        Err(HttpError::TooLarge)
    );
    let mut hurried = get(address, "/silent");
    hurried.timeout = Some(Duration::from_millis(50));
    assert_eq!(client.send(hurried).await, Err(HttpError::Timeout));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = self::client(closed);
    assert!(matches!(
        client.send(get(closed, "/")).await,
        Err(HttpError::Failed(_))
    ));
}
