//! Every decision as a closure: some answer at once, some wait for a service. The program is a client of its own broker, and
//! brings connections to it. `try.sh` shows it with real clients.
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jackfield::plugin_api::{
    AclVerdict, AuthVerdict, DeliverFlow, Denial, EventKind, EventMask, Flow, Patch, Peer,
};
use jackfield::types::{Message, QoS, ReasonCode, TopicName};
use jackfield::{Broker, Chain, Handle, Link, Listener, PeerInfo};
use tokio::io::AsyncReadExt;

/// What a real program would ask over the network.
#[derive(Default)]
struct UserService {
    asked: AtomicUsize,
}

impl UserService {
    /// Returns password and full name.
    async fn find(&self, user: &str) -> Option<(&'static str, &'static str)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // A query would wait here; others go on meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match user {
            "anna" => Some(("secret", "Anna Example")),
            "otto" => Some(("geheim", "Otto Example")),
            _ => None,
        }
    }
}

/// What is decided about everybody.
fn rules(users: &Arc<UserService>) -> Chain {
    let (passwords, names) = (users.clone(), users.clone());
    Chain::new()
        .authenticate_async(move |request| {
            let users = passwords.clone();
            Box::pin(async move {
                let Some(user) = request.username else {
                    return Ok(AuthVerdict::bad_credentials());
                };
                Ok(match users.find(user).await {
                    Some((password, _)) if request.password == Some(password.as_bytes()) => {
                        AuthVerdict::allow()
                    }
                    _ => AuthVerdict::bad_credentials(),
                })
            })
        })
        .authorize(|client, _action, item| {
            let mut levels = item.topic.split('/');
            let own = levels.next() == Some("home") && levels.next() == client.username.as_deref();
            match own {
                true => AclVerdict::Allow,
                false => AclVerdict::Skip,
            }
        })
        .on_publish("home/+/celsius", |_client, message| {
            let number = std::str::from_utf8(message.payload()).map(|text| text.trim().parse::<f64>());
            match number {
                Ok(Ok(_)) => Flow::Continue,
                _ => Flow::Reject(Denial::new(ReasonCode::PayloadFormatInvalid)),
            }
        })
        .on_publish_async("home/+/note", move |client, message| {
            let users = names.clone();
            async move {
                let user = client.username.as_deref().unwrap_or_default();
                let name = users.find(user).await.map_or("somebody", |(_, name)| name);
                let note = String::from_utf8_lossy(&message.payload);
                let patch = Patch {
                    payload: Some(format!("{name}: {note}").into()),
                    ..Patch::default()
                };
                Ok((Flow::Continue, patch))
            }
        })
        .on_event(
            EventMask::NONE
                .with(EventKind::Connected)
                .with(EventKind::Disconnected),
            |event| {
                let client = event.client_id.as_ref().map_or("?", |id| id.as_str());
                println!("{:?} {client}", event.kind);
            },
        )
}

/// A small display: it gets the first 16 characters of everything.
fn display(users: &Arc<UserService>) -> Chain {
    Chain::new()
        .chain(rules(users))
        .on_deliver("#", |_class, message| {
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            if let Some((end, _)) = text.char_indices().nth(16) {
                message.set_payload(text[..end].to_owned());
            }
            DeliverFlow::Continue
        })
}

/// Counts what passes, and says so every time.
async fn count(mut link: Link) {
    let mut sum = 0;
    while let Some(received) = link.recv().await {
        sum += 1;
        received.ack();
        let Ok(topic) = TopicName::new("program/count") else {
            return;
        };
        let count = Message {
            retain: true,
            ..Message::new(topic, sum.to_string())
        };
        if link.publish(count).await.is_err() {
            return;
        }
    }
}

/// Accepts connections itself, as a program with a transport of its own would, and brings them to the broker.
async fn bring(socket: tokio::net::UnixListener, broker: Handle) {
    while let Ok((stream, _)) = socket.accept().await {
        let broker = broker.clone();
        tokio::spawn(async move {
            if let Err(error) = broker
                .serve_io("display", stream, PeerInfo::from(Peer::Unix))
                .await
            {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: example-closures SOCKET-PATH")?;
    let users = Arc::<UserService>::default();
    let broker = Broker::builder()
        .listener(
            Listener::tcp("127.0.0.1:0")
                .name("home")
                .with_chain(rules(&users)),
        )
        .listener(Listener::internal().name("display").with_chain(display(&users)))
        .start()
        .await?;
    println!("home {}", broker.addr("home").ok_or("it has no address")?);

    let counter = broker.handle().link("counter").unrestricted().connect().await?;
    counter.subscribe("home/#", QoS::AtLeastOnce).await?;
    tokio::spawn(count(counter));
    tokio::spawn(bring(tokio::net::UnixListener::bind(&path)?, broker.handle()));

    // Runs until its input ends.
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    println!(
        "the user service was asked {} times",
        users.asked.load(Ordering::Relaxed)
    );
    let left = broker.shutdown(Duration::from_secs(5)).await;
    println!(
        "{}",
        if left.is_clean() {
            "ended in order"
        } else {
            "something was left"
        }
    );
    let _ = std::fs::remove_file(path);
    Ok(())
}
