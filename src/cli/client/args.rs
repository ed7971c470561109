//! The flags that `pub` and `sub` share, named as mosquitto's are.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use broker_types::{ProtocolVersion, QoS};
use clap::{ArgAction, Args};

use super::properties::Properties;
use crate::cli::exit::{Exit, Failure};

/// How to reach a broker, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The broker's host
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// The broker's port
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// Connect to a unix socket instead
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC instead of -h, -p, -u, -P and -t
    #[arg(short = 'L', long, value_name = "URL")]
    url: Option<Url>,
    /// Connect from this address
    #[arg(short = 'A', value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// The User Name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The Password; everybody on this machine can read it there, so better JACKFIELD_PASSWORD in the environment
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD")]
    password: Option<String>,
    /// The Client Identifier; without one the broker chooses
    #[arg(short = 'i', long = "id", value_name = "ID")]
    client_id: Option<String>,
    /// Use this and the process's number as Client Identifier
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "client_id")]
    id_prefix: Option<String>,
    /// Keep Alive in seconds; 0: none
    #[arg(short, long = "keepalive", value_name = "SECONDS", default_value_t = 60)]
    pub(crate) keep_alive: u16,
    /// The version of MQTT: 5, 311 or 31, with or without `mqttv` before it
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version)]
    pub(crate) protocol_version: ProtocolVersion,
    /// Keep the Session: no Clean Start, and it never expires unless -x says when; needs -i
    #[arg(short = 'c', long)]
    pub(crate) disable_clean_session: bool,
    /// Session Expiry Interval in seconds; -1: never
    #[arg(short = 'x', long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = expiry)]
    session_expiry_interval: Option<u32>,
    #[command(flatten)]
    pub(crate) will: WillArgs,
    #[command(flatten)]
    pub(crate) properties: Properties,
    /// Send small packets at once
    #[arg(long)]
    pub(crate) nodelay: bool,
    /// Tell on standard error what happens
    #[arg(short, long)]
    pub(crate) debug: bool,
    /// Tell nothing on standard error
    #[arg(long, conflicts_with = "debug")]
    pub(crate) quiet: bool,
    /// Print help
    #[arg(long, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

/// The Will Message.
#[derive(Debug, Args)]
pub(crate) struct WillArgs {
    /// The Will Message's Topic Name
    #[arg(id = "will-topic", long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// The Will Message's payload
    #[arg(
        id = "will-payload",
        long,
        value_name = "PAYLOAD",
        default_value = "",
        requires = "will-topic"
    )]
    pub(crate) payload: String,
    /// The Will Message's QoS
    #[arg(id = "will-qos", long, value_name = "QOS", default_value = "0", requires = "will-topic", value_parser = qos)]
    pub(crate) qos: QoS,
    /// Retain the Will Message
    #[arg(id = "will-retain", long, requires = "will-topic")]
    pub(crate) retain: bool,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Tcp {
        host: String,
        port: u16,
        from: Option<IpAddr>,
        nodelay: bool,
    },
    Unix(PathBuf),
}

impl Connection {
    pub(crate) fn peer(&self) -> Peer {
        if let Some(path) = &self.unix {
            return Peer::Unix(path.clone());
        }
        let (host, port) = match &self.url {
            Some(url) => (&url.host, url.port.unwrap_or(1883)),
            None => (&self.host, self.port),
        };
        Peer::Tcp {
            host: host.clone(),
            port,
            from: self.bind,
            nodelay: self.nodelay,
        }
    }

    /// The topic that `-L` names.
    pub(crate) fn url_topic(&self) -> Option<&str> {
        self.url.as_ref()?.topic.as_deref()
    }

    pub(crate) fn username(&self) -> Option<&str> {
        let url = self.url.as_ref().and_then(|url| url.username.as_deref());
        self.username.as_deref().or(url)
    }

    pub(crate) fn password(&self) -> Option<String> {
        let url = self.url.as_ref().and_then(|url| url.password.clone());
        let given = self.password.clone().or(url);
        given.or_else(|| std::env::var("JACKFIELD_PASSWORD").ok())
    }

    /// The Client Identifier. Where the broker may not choose one, this program does.
    ///
    /// # Errors
    /// A Session that is to be kept needs a name that can be used again.
    pub(crate) fn client_id(&self) -> Result<String, Failure> {
        let number = std::process::id();
        if let Some(id) = &self.client_id {
            return Ok(id.clone());
        }
        if self.disable_clean_session {
            let message = "-c keeps a Session, which needs a Client Identifier: give one with -i";
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(match &self.id_prefix {
            Some(prefix) => format!("{prefix}{number}"),
            // MQTT 3.1 has no empty Client Identifier.
            None if self.protocol_version == ProtocolVersion::V31 => format!("jackfield-{number}"),
            None => String::new(),
        })
    }

    /// The Session Expiry Interval, which 3.1.1 takes from Clean Session.
    pub(crate) fn session_expiry(&self) -> u32 {
        let implied = if self.disable_clean_session { u32::MAX } else { 0 };
        self.session_expiry_interval.unwrap_or(implied)
    }
}

/// A broker's address, as mosquitto's `-L` takes it. Nothing in it is percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    username: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    topic: Option<String>,
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = match text.split_once("://") {
            Some(("mqtt", rest)) => rest,
            Some(("mqtts", _)) => return Err("TLS is not available in this version"),
            _ => return Err("must begin with mqtt://"),
        };
        let (authority, topic) = match rest.split_once('/') {
            Some((authority, topic)) => (authority, (!topic.is_empty()).then(|| topic.to_owned())),
            None => (rest, None),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (username, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
            Some(Ok((name, password))) => (Some(name.to_owned()), Some(password.to_owned())),
            Some(Err(name)) => (Some(name.to_owned()), None),
            None => (None, None),
        };
        // The colons of an IPv6 address stand in brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (address, None),
        };
        if host.is_empty() {
            return Err("has no host");
        }
        Ok(Self {
            username,
            password,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port
                .map(|port| port.parse().map_err(|_| "has no valid port"))
                .transpose()?,
            topic,
        })
    }
}

/// Reads `0`, `1` or `2`.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    let bits = text.parse().ok();
    bits.and_then(QoS::from_bits)
        .ok_or_else(|| "must be 0, 1 or 2".to_owned())
}

/// Reads `5`, `311` or `31`, with or without `mqttv` before it.
pub(crate) fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        "311" | "3.1.1" => Ok(ProtocolVersion::V311),
        "31" | "3.1" => Ok(ProtocolVersion::V31),
        _ => Err("must be 5, 311 or 31".to_owned()),
    }
}

fn expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        number => number
            .parse()
            .map_err(|_| "must be 0 to 4294967295, or -1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url: Url = "mqtt://anna:se:cret@[::1]:1884/a/b".parse().unwrap();
        assert_eq!(
            (url.username.as_deref(), url.password.as_deref()),
            (Some("anna"), Some("se:cret"))
        );
        assert_eq!(
            (url.host.as_str(), url.port, url.topic.as_deref()),
            ("::1", Some(1884), Some("a/b"))
        );
        let url: Url = "mqtt://broker/".parse().unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.topic, url.username),
            ("broker", None, None, None)
        );
        let url: Url = "mqtt://[::1]".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", None));
        for bad in [
            "broker",
            "http://broker",
            "mqtts://broker",
            "mqtt://",
            "mqtt://broker:port/x",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn small_values_are_read() {
        assert_eq!(version("mqttv31"), Ok(ProtocolVersion::V31));
        assert_eq!(version("311"), Ok(ProtocolVersion::V311));
        assert!(version("mqttv4").is_err());
        assert_eq!(qos("2"), Ok(QoS::ExactlyOnce));
        assert!(qos("3").is_err());
        assert_eq!(expiry("-1"), Ok(u32::MAX));
        assert_eq!(expiry("7"), Ok(7));
        assert!(expiry("-2").is_err());
    }
}
