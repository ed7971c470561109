//! A broker inside another program: two listeners with chains of closures, a message from the program itself, a count at
//! the end. `try.sh` shows it with a real client.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use jackfield::plugin_api::{AclVerdict, Action, AuthVerdict, Flow};
use jackfield::types::{Message, TopicName};
use jackfield::{Broker, Chain, Listener};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Devices show a password and publish below their own name; temperatures come in as Fahrenheit.
    let devices = Chain::new()
        .authenticate(|request| match request.password {
            Some(b"secret") => AuthVerdict::allow(),
            _ => AuthVerdict::bad_credentials(),
        })
        .authorize(|client, action, item| {
            let own = item.topic.split('/').nth(1) == client.username.as_deref();
            match action {
                Action::Publish if own => AclVerdict::Allow,
                _ => AclVerdict::Skip,
            }
        })
        .on_publish("device/+/fahrenheit", |_client, message| {
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            let Ok(fahrenheit) = text.trim().parse::<f64>() else {
                return Flow::Drop;
            };
            message.set_payload(format!("{:.1}", (fahrenheit - 32.0) / 1.8));
            Flow::Continue
        });
    // Whoever is on this machine may read everything and write nothing.
    let readers = Chain::new().authorize(|_client, action, _item| match action {
        Action::Publish => AclVerdict::Skip,
        _ => AclVerdict::Allow,
    });

    let broker = Broker::builder()
        .listener(Listener::tcp("127.0.0.1:0").name("devices").with_chain(devices))
        .listener(
            Listener::tcp("127.0.0.1:0")
                .name("readers")
                .anonymous(true)
                .with_chain(readers),
        )
        .start()
        .await?;
    for (name, bind) in broker.listeners() {
        println!("{name} {bind}");
    }

    let handle = broker.handle();
    let hello = Message {
        retain: true,
        ..Message::new(TopicName::new("program/hello")?, "the program is up")
    };
    handle.publish(hello).await?;

    // Runs until its input ends.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    println!("{} messages came in", handle.counts().messages_accepted);
    broker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
