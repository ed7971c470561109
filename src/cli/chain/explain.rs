//! `jackfield chain explain`: one client does one thing, and each plugin's answer is told. The broker itself does it, without a
//! port.

use std::net::IpAddr;
use std::path::PathBuf;

use broker_types::{Message, ProtocolVersion, QoS, TopicFilter, TopicName};
use clap::Args;
use jackfield::config_file::{ListenerSettings, Settings, load};
use jackfield::trial::{TrialError, rehearse};
use jackfield::{Act, Actor};
use plugin_api::Peer;

use crate::cli::client::{qos, version};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::source::{Overrides, loaders, runtime};
use crate::cli::{explained, output};

/// `jackfield chain explain`.
#[derive(Debug, Args)]
#[command(
    about = "Tell what each plugin says to one client, without opening a port",
    long_about = "Tell what each plugin says to one client, without opening a port.\n\n\
                  The plugins are started, one client connects to the listener, and publishes, subscribes or only connects. With \
                  --username and no password it is taken for that user without asking authenticators.",
    after_help = "Examples:\n  jackfield chain explain --listener plant --username dev7 --topic plant/7/raw -m 21.5\n  \
                  jackfield chain explain --listener plant --username dev7 --filter 'plant/#'\n  \
                  jackfield chain explain --listener plant --username dev7 --pw secret"
)]
pub(crate) struct Explain {
    /// The listener; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Publish to this topic
    #[arg(short, long, value_name = "TOPIC", conflicts_with = "filter", value_parser = topic)]
    topic: Option<TopicName>,
    /// The payload to publish
    #[arg(short, long, value_name = "TEXT", default_value = "", requires = "topic")]
    message: String,
    /// Publish it with RETAIN
    #[arg(short, long, requires = "topic")]
    retain: bool,
    /// Subscribe to this filter
    #[arg(short, long, value_name = "FILTER", value_parser = filter)]
    filter: Option<TopicFilter>,
    /// The QoS of the message or the subscription
    #[arg(short, long, default_value = "1", value_parser = qos)]
    qos: QoS,
    /// The User Name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The Password; authenticators are asked about it
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD")]
    password: Option<String>,
    /// What an authenticator is taken to have said about the client: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE", value_parser = attribute, requires = "username", conflicts_with = "password")]
    attribute: Vec<(String, String)>,
    /// The Client Identifier
    #[arg(short = 'i', long = "id", value_name = "ID", default_value = "explain")]
    client_id: String,
    /// The IP address that the client comes from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The version of MQTT: 5, 311 or 31
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version)]
    protocol_version: ProtocolVersion,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "jackfield.toml")]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

impl Explain {
    pub(crate) fn run(self) -> Outcome {
        let sources = self.overrides.sources(Some(self.config.clone()));
        runtime()?.block_on(async {
            let loaders = loaders();
            let loaded = load(&sources, &loaders).await.map_err(|report| {
                output::report(&report);
                Failure::silent(Exit::Configuration as u8)
            })?;
            let settings = loaded.settings;
            let listener = self.find_listener(&settings)?;
            let mut rehearsal = rehearse(&settings, &loaders)
                .await
                .map_err(|error| failure(&error))?;
            let explained = rehearsal.explain(self.actor(&listener.name), self.act()).await;
            rehearsal.end().await;
            let explained = explained.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            if self.json {
                return output::line(explained::json(&explained));
            }
            let chain = match listener.chain.name.as_str() {
                "" => "a chain of its own".to_owned(),
                name => format!("chain {name}"),
            };
            output::line(format_args!(
                "listener {}, {chain}: {}\n",
                listener.name,
                self.what()
            ))?;
            let turns = explained::turns(&explained, "  ");
            output::text(if turns.is_empty() {
                "  no plugin was asked\n".as_bytes()
            } else {
                turns.as_bytes()
            })?;
            for (name, why) in explained::idle(&explained, &listener.chain, &settings) {
                output::line(format_args!("  not asked: {name} ({why})"))?;
            }
            output::line(format_args!("\n{}", explained::outcome(&explained)))
        })
    }

    fn find_listener<'a>(&self, settings: &'a Settings) -> Result<&'a ListenerSettings, Failure> {
        let names = || {
            let names: Vec<_> = settings
                .listeners
                .iter()
                .map(|listener| listener.name.as_str())
                .collect();
            format!("there are: {}", names.join(", "))
        };
        match (&self.listener, &settings.listeners[..]) {
            (Some(name), all) => all.iter().find(|listener| listener.name == *name).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("there is no listener `{name}`")).hint(names())
            }),
            (None, [only]) => Ok(only),
            (None, _) => {
                Err(Failure::new(Exit::Usage, "which listener? Say it with --listener").hint(names()))
            }
        }
    }

    fn actor(&self, listener: &str) -> Actor {
        let mut actor = Actor::new(listener)
            .client_id(&self.client_id)
            .version(self.protocol_version);
        if let Some(user) = &self.username {
            actor = actor.username(user);
        }
        if let Some(address) = self.from {
            actor = actor.peer(Peer::Tcp((address, 0).into()));
        }
        match (&self.password, &self.username) {
            (Some(password), _) => actor.password(password.as_bytes()),
            (None, Some(_)) => actor.assumed(self.attribute.clone()),
            (None, None) => actor,
        }
    }

    fn act(&self) -> Act {
        match (&self.topic, &self.filter) {
            (Some(topic), _) => Act::Publish(Message {
                qos: self.qos,
                retain: self.retain,
                ..Message::new(topic.clone(), self.message.clone())
            }),
            (None, Some(filter)) => Act::Subscribe(vec![filter.to_string()], self.qos),
            (None, None) => Act::Connect,
        }
    }

    /// Who does what, in words.
    fn what(&self) -> String {
        let who = self.username.as_deref().unwrap_or("a client without a user name");
        match (&self.topic, &self.filter) {
            (Some(topic), _) => format!("{who} publishes to {topic}"),
            (None, Some(filter)) => format!("{who} subscribes to {filter}"),
            (None, None) => format!("{who} connects"),
        }
    }
}

/// Why no plugin could be asked.
pub(crate) fn failure(error: &TrialError) -> Failure {
    let exit = match error {
        TrialError::Assemble(_) => Exit::Configuration,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, error.to_string())
}

fn topic(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

fn filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::new(text).map_err(|error| error.to_string())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("needs NAME=VALUE".to_owned()),
    }
}
