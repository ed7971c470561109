//! Random changes, good and bad, against a model that knows only: which listeners there are and how each marks messages. After
//! each change everybody who was ever let in is still there and served as the model says.
#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use broker_core::{Broker, BrokerBuilder, Chain, Listener, Use};
use common::{Client, Connect, PATIENCE, Running};
use plugin_api::{
    Answer, Capabilities, Cx, Fault, Flow, Host, MessageEdit, Patch, Plugin, PluginInfo, Publish, Scoped,
    async_trait,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const MARKS: usize = 6;
const CLIENTS_MAX: usize = 12;

/// Changes in one run; more with `JACKFIELD_CHANGES`.
fn changes() -> usize {
    let wanted = std::env::var("JACKFIELD_CHANGES").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(200)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Puts its mark before each payload.
#[derive(Clone)]
struct Marks {
    mark: String,
    starts: bool,
}

#[async_trait]
impl Plugin for Marks {
    fn info(&self) -> PluginInfo {
        PluginInfo::default()
    }

    async fn start(&self, _: Arc<dyn Host>) -> Result<(), Fault> {
        match self.starts {
            true => Ok(()),
            false => Err(Fault::backend("not today")),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            publish: Some(Scoped::everywhere(Arc::new(self.clone()))),
            ..Capabilities::default()
        }
    }
}

impl Publish for Marks {
    fn publish(&self, _: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let payload = [self.mark.as_bytes(), message.payload()].concat();
        message.set_payload(payload);
        Answer::now(Flow::Continue)
    }
}

/// What is to be: for each listener the plugins of its chain, by number and generation.
type Wanted = BTreeMap<&'static str, Vec<(usize, usize)>>;

struct Tried {
    /// Instances that run, or did, by number and generation.
    plugins: BTreeMap<(usize, usize), Arc<dyn Plugin>>,
    generations: [usize; MARKS],
    taken: std::net::TcpListener,
}

impl Tried {
    fn plugin(&mut self, key: (usize, usize)) -> Arc<dyn Plugin> {
        let make = || -> Arc<dyn Plugin> {
            Arc::new(Marks {
                mark: mark(key),
                starts: true,
            })
        };
        self.plugins.entry(key).or_insert_with(make).clone()
    }

    fn random(&mut self, random: &mut Random) -> Wanted {
        // Now and then another instance under the same name.
        let renewed = random.below(MARKS);
        self.generations[renewed] += usize::from(random.one_in(2));
        let mut wanted = Wanted::new();
        for name in NAMES {
            if random.one_in(3) {
                continue;
            }
            let chain = (0..random.below(3)).map(|_| random.below(MARKS));
            let chain = chain.map(|number| (number, self.generations[number]));
            wanted.insert(name, chain.collect());
        }
        if wanted.is_empty() {
            wanted.insert("a", Vec::new());
        }
        wanted
    }

    fn builder(&mut self, wanted: &Wanted) -> BrokerBuilder {
        let mut builder = Broker::builder();
        for (name, chain) in wanted {
            let used = chain
                .iter()
                .map(|key| Use::new(format!("p{}", key.0), self.plugin(*key)));
            let chain = used.fold(Chain::new(), Chain::plugin);
            builder = builder.listener(listener(name).with_chain(chain));
        }
        builder.shards(2)
    }

    /// Makes a mistake.
    fn spoil(&self, builder: BrokerBuilder, random: &mut Random) -> BrokerBuilder {
        match random.below(5) {
            0 => builder.listener(listener("x").chain("nowhere")),
            1 => builder.listener(Listener::tcp("127.0.0.1:0").name("x")),
            2 => builder.listener(listener("x")).listener(listener("x")),
            3 => {
                let taken = self.taken.local_addr().expect("bound");
                builder.listener(Listener::tcp(taken).anonymous(true).name("x"))
            }
            _ => {
                let broken = Marks {
                    mark: String::new(),
                    starts: false,
                };
                let chain = Chain::new().plugin(Use::new("broken", Arc::new(broken) as Arc<dyn Plugin>));
                builder.listener(listener("x").with_chain(chain))
            }
        }
    }
}

fn listener(name: &str) -> Listener {
    Listener::tcp("127.0.0.1:0").anonymous(true).name(name)
}

fn mark(key: (usize, usize)) -> String {
    format!("{}.{} ", key.0, key.1)
}

/// What is before a payload that passed a chain.
fn marked(chain: &[(usize, usize)]) -> String {
    chain.iter().rev().map(|key| mark(*key)).collect()
}

/// A client that was let in, and the chain that the model says it has.
struct Member {
    client: Client,
    id: String,
    listener: &'static str,
    chain: Vec<(usize, usize)>,
}

impl Member {
    fn check(&mut self, step: usize) {
        let payload = format!("step {step}");
        self.client.publish(&self.id, payload.as_bytes(), 1, 1);
        let mut came = [
            self.client.next().expect("connected"),
            self.client.next().expect("connected"),
        ];
        came.sort_by_key(|packet| packet.kind());
        let (topic, _, text) = came[0].publish(5);
        let expected = format!("{}{payload}", marked(&self.chain));
        assert_eq!(
            (topic.as_str(), String::from_utf8_lossy(&text).as_ref()),
            (self.id.as_str(), expected.as_str()),
            "step {step}, listener {}",
            self.listener
        );
    }
}

#[test]
fn random_changes_do_what_the_model_says() {
    let seed = match std::env::var("JACKFIELD_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("later")
                .as_nanos() as u64
                | 1
        }
    };
    println!("JACKFIELD_SEED={seed}");
    let mut random = Random(seed);
    let mut tried = Tried {
        plugins: BTreeMap::new(),
        generations: [0; MARKS],
        taken: std::net::TcpListener::bind("127.0.0.1:0").expect("a port"),
    };
    let mut present = tried.random(&mut random);
    let mut broker = Running::start(tried.builder(&present));
    let mut members: Vec<Member> = Vec::new();
    let mut refused = 0;
    for step in 0..changes() {
        let wanted = tried.random(&mut random);
        let builder = tried.builder(&wanted);
        if random.one_in(3) {
            let spoiled = tried.spoil(builder, &mut random);
            broker.reload(spoiled).expect_err("it is wrong");
            refused += 1;
            // What was started for it is spent.
            tried
                .generations
                .iter_mut()
                .for_each(|generation| *generation += 1);
        } else {
            broker.reload(builder).expect("it is right");
            present = wanted;
            // Who isn't used any more is stopped, and doesn't come back.
            for number in 0..MARKS {
                let is_used = present.values().flatten().any(|(used, _)| *used == number);
                tried.generations[number] += usize::from(!is_used);
            }
            for member in &mut members {
                if let Some(chain) = present.get(member.listener) {
                    member.chain.clone_from(chain);
                }
            }
        }
        let names: Vec<_> = broker
            .broker()
            .listeners()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, present.keys().copied().collect::<Vec<_>>(), "step {step}");
        let at = random.below(present.len());
        let (name, chain) = present.iter().nth(at).expect("one of them");
        if members.len() == CLIENTS_MAX {
            members.remove(random.below(CLIENTS_MAX));
        }
        let id = format!("m{step}");
        let addr = broker.broker().addr(name).expect("it listens");
        let mut client = Client::connect(addr, &Connect::v5(&id));
        client.subscribe(&id, 0);
        members.push(Member {
            client,
            id,
            listener: name,
            chain: chain.clone(),
        });
        members.iter_mut().for_each(|member| member.check(step));
    }
    let counts = broker.handle().reloads();
    assert_eq!(
        (counts.refused, counts.done + counts.refused),
        (refused, changes() as u64)
    );
    assert_eq!(counts.swaps_back, 0);
    broker.shutdown(PATIENCE);
}
