//! `jackfield pub`: publishes and ends. Flags as of mosquitto_pub.

use std::path::PathBuf;
use std::time::Duration;

use broker_proto::ClientLimits;
use broker_types::{Message, QoS, TopicName};
use clap::{ArgGroup, Args};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::client::{Connection, Happened, Link, Packet, qos};
use super::exit::{Exit, Failure, Outcome};
use super::source::runtime;

/// `jackfield pub`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    group = ArgGroup::new("what").required(true),
    after_help = "Ends with 0 when the broker has all messages, with the Reason Code of a refused CONNECT, with 1 when a \
                  message was refused, with 69 when the broker can't be reached."
)]
pub(crate) struct Publish {
    #[command(flatten)]
    connection: Connection,
    /// The Topic Name
    #[arg(short, long, required_unless_present = "url")]
    topic: Option<String>,
    /// This text is the message
    #[arg(short, long, group = "what", allow_hyphen_values = true)]
    message: Option<String>,
    /// What the file contains is the message
    #[arg(short, long, group = "what", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Every line of standard input is a message
    #[arg(short = 'l', long, group = "what")]
    stdin_line: bool,
    /// All of standard input is the message
    #[arg(short = 's', long, group = "what")]
    stdin_file: bool,
    /// The message is empty
    #[arg(short = 'n', long, group = "what")]
    null_message: bool,
    /// QoS: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Retain the message
    #[arg(short, long)]
    retain: bool,
    /// QoS 1 and 2 messages under way at a time
    #[arg(short = 'M', value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    max_inflight: u16,
    /// Publish so many times
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        conflicts_with = "stdin_line"
    )]
    repeat: u32,
    /// Wait so many seconds in between
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    repeat_delay: Duration,
}

impl Publish {
    pub(crate) fn run(self) -> Outcome {
        let quiet = self.connection.quiet;
        let outcome = runtime()?.block_on(self.publish());
        outcome.map_err(|failure| if quiet { failure.without_words() } else { failure })
    }

    /// Publishes everything and waits until the broker has it.
    pub(crate) async fn publish(&self) -> Outcome {
        let message = self.message()?;
        let mut limits = ClientLimits::default();
        limits.inflight_max = self.max_inflight;
        limits.outbox_bytes_max = usize::MAX;
        let mut link = Link::open(&self.connection, limits).await?;
        let mut refused = None;
        if self.stdin_line {
            let mut lines = BufReader::new(tokio::io::stdin());
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .await
                .map_err(|error| Failure::io("standard input", &error))?
                > 0
            {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                let payload = std::mem::take(&mut line);
                self.send(&mut link, &with_payload(&message, payload), &mut refused)
                    .await?;
            }
        } else {
            let message = with_payload(&message, self.payload().await?);
            for round in 0..self.repeat {
                if round > 0 && !self.repeat_delay.is_zero() {
                    wait(&mut link, self.repeat_delay, &mut refused).await?;
                }
                self.send(&mut link, &message, &mut refused).await?;
            }
        }
        while link.unfinished() > 0 {
            note(&link.next().await?, &mut refused);
        }
        link.close().await?;
        refused.map_or(Ok(()), |why| Err(Failure::new(Exit::Failed, why)))
    }

    /// Publishes, and waits while as many are under way as may be.
    async fn send(&self, link: &mut Link, message: &Message, refused: &mut Option<String>) -> Outcome {
        link.publish(message)?;
        link.flush().await?;
        while let Some(event) = link.ready()? {
            note(&event, refused);
        }
        while link.unfinished() >= usize::from(self.max_inflight) {
            note(&link.next().await?, refused);
        }
        Ok(())
    }

    /// The message, still without payload.
    fn message(&self) -> Result<Message, Failure> {
        let usage = |why: String| Failure::new(Exit::Usage, why);
        let topic = self.topic.as_deref().or(self.connection.url_topic());
        let topic = topic.ok_or_else(|| usage("no topic: give one with -t".to_owned()))?;
        let topic = TopicName::new(topic).map_err(|error| usage(error.to_string()))?;
        let properties = &self.connection.properties;
        Ok(Message {
            qos: self.qos,
            retain: self.retain,
            properties: properties.message(Packet::Publish)?,
            expiry: properties.number(Packet::Publish, "message-expiry-interval")?,
            ..Message::new(topic, Vec::new())
        })
    }

    async fn payload(&self) -> Result<Vec<u8>, Failure> {
        if let Some(text) = &self.message {
            return Ok(text.clone().into_bytes());
        }
        if let Some(path) = &self.file {
            return std::fs::read(path).map_err(|error| Failure::io(path.display(), &error));
        }
        let mut payload = Vec::new();
        if self.stdin_file {
            let read = tokio::io::stdin().read_to_end(&mut payload).await;
            read.map_err(|error| Failure::io("standard input", &error))?;
        }
        Ok(payload)
    }
}

fn with_payload(message: &Message, payload: Vec<u8>) -> Message {
    Message {
        payload: payload.into(),
        ..message.clone()
    }
}

/// Keeps the connection alive for `delay`.
async fn wait(link: &mut Link, delay: Duration, refused: &mut Option<String>) -> Outcome {
    let over = tokio::time::sleep(delay);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return Ok(()),
            event = link.next() => note(&event?, refused),
        }
    }
}

/// Remembers the last refusal.
fn note(event: &Happened, refused: &mut Option<String>) {
    match event {
        Happened::Published(reason) if reason.is_error() => {
            *refused = Some(format!("the broker refused the message: {reason}"));
        }
        Happened::Dropped => *refused = Some("the message was not sent".to_owned()),
        _ => {}
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "must be a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}
