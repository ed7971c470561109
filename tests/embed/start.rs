//! Starting: ports that the system chooses, brokers side by side, and everything that is wrong at once.

use std::net::TcpListener;
use std::sync::Arc;

use broker_core::{Bind, Broker, BrokerBuilder, Chain, Listener, StartProblem};
use plugin_api::{Capabilities, Fault, Flow, Host, Plugin, PluginInfo, async_trait};

use crate::park::block_on;
use crate::{client, open, start, with_chain};

#[test]
fn two_brokers_in_one_process_know_nothing_of_each_other() {
    let marked = |mark: &'static str| {
        with_chain(Chain::new().on_publish("#", move |_, message| {
            message.set_payload(mark);
            Flow::Continue
        }))
    };
    let one = start(marked("one"));
    let two = start(marked("two"));
    assert_ne!(one.addr("main"), two.addr("main"));
    // the same identifier on both is two clients
    let mut in_one = client(&one, "a").connect();
    let mut in_two = client(&two, "a").connect();
    in_one.subscribe("#", 1);
    in_two.subscribe("#", 1);
    client(&one, "p").connect().retain("t", "", 1).retain("t", "x", 1);
    in_one.expect_any_publish();
    in_two.expect_silence();
    assert_eq!(
        (one.handle().gauges().retained, two.handle().gauges().retained),
        (1, 0)
    );
    // and the end of one is nothing to the other
    let left = block_on(one.shutdown(std::time::Duration::from_secs(5)));
    assert_eq!(left.cut, 0);
    client(&two, "p").connect().publish("t", "x", 1);
    in_two.take("t", "two");
}

#[test]
fn port_0_is_a_port_that_can_be_asked_for() {
    let broker = start(
        Broker::builder()
            .listener(Listener::tcp("127.0.0.1:0").anonymous(true))
            .listener(Listener::tcp("127.0.0.1:0").anonymous(true)),
    );
    let listeners = broker.listeners();
    let names: Vec<&str> = listeners.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["listener-0", "listener-1"]);
    assert!(
        listeners
            .iter()
            .all(|(_, bind)| matches!(bind, Bind::Tcp(addr) if addr.port() != 0))
    );
    assert!(broker.addr("listener-1").is_some() && broker.addr("nobody").is_none());
}

fn good(name: &str) -> Listener {
    Listener::tcp("127.0.0.1:0").name(name).anonymous(true)
}

/// What a problem is for people, and how to know it.
type Wanted<'a> = (&'a str, fn(&StartProblem) -> bool);

#[track_caller]
fn problems(builder: BrokerBuilder, wanted: &[Wanted<'_>]) {
    let error = block_on(builder.start()).expect_err("nothing of this is right");
    for (what, is) in wanted {
        assert!(error.problems.iter().any(is), "{what} is missing: {error}");
    }
    assert_eq!(error.problems.len(), wanted.len(), "{error}");
    let text = error.to_string();
    assert!(
        error
            .problems
            .iter()
            .all(|problem| text.contains(&problem.to_string())),
        "{text}"
    );
}

#[test]
fn everything_that_is_wrong_with_listeners_is_told_at_once() {
    problems(
        Broker::builder()
            .shards(0)
            .listener(good("twice"))
            .listener(good("twice"))
            .listener(good("chainless").chain("nowhere"))
            .listener(good("mounted").mount("a/#/"))
            .listener(Listener::tcp("nonsense").name("homeless").anonymous(true)),
        &[
            ("no thread", |p| {
                matches!(p, StartProblem::Setting { what: "shards", .. })
            }),
            (
                "two of a name",
                |p| matches!(p, StartProblem::TwiceNamed(name) if name == "twice"),
            ),
            (
                "a chain",
                |p| matches!(p, StartProblem::UnknownChain { chain, .. } if chain == "nowhere"),
            ),
            (
                "a mount",
                |p| matches!(p, StartProblem::Mount { listener, .. } if listener == "mounted"),
            ),
            (
                "an address",
                |p| matches!(p, StartProblem::Address { listener, .. } if listener == "homeless"),
            ),
        ],
    );
}

/// What a chain is can only be asked when its plugins have started, so this comes second.
#[test]
fn everything_that_is_wrong_with_chains_is_told_at_once() {
    let chain = |filter: &'static str| Chain::new().on_publish(filter, |_, _| Flow::Continue);
    problems(
        Broker::builder()
            .shards(1)
            .listener(Listener::tcp("127.0.0.1:0").name("open"))
            .listener(good("filter").with_chain(chain("a/#/b")))
            .listener(good("other").with_chain(chain("")))
            .listener(good("right").with_chain(chain("a/#"))),
        &[
            (
                "an open door",
                |p| matches!(p, StartProblem::NoAuthenticator(name) if name == "open"),
            ),
            (
                "a filter",
                |p| matches!(p, StartProblem::Chain { listener, .. } if listener == "filter"),
            ),
            (
                "a filter",
                |p| matches!(p, StartProblem::Chain { listener, .. } if listener == "other"),
            ),
        ],
    );
}

#[test]
fn a_broker_without_listener_does_not_start() {
    let error = block_on(Broker::builder().start()).expect_err("there is nothing to listen on");
    assert!(
        matches!(error.problems[..], [StartProblem::NoListener]),
        "{error}"
    );
}

/// Every port that is taken is told, and those that were free are free again.
#[test]
fn a_failed_start_leaves_no_port_open() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free_addr = free.local_addr().expect("an address");
    drop(free);
    let busy = taken.local_addr().expect("an address");
    let listener = |name: &str, addr: std::net::SocketAddr| Listener::tcp(addr).name(name).anonymous(true);
    let error = block_on(
        Broker::builder()
            .listener(listener("free", free_addr))
            .listener(listener("busy", busy))
            .listener(listener("busy-too", busy))
            .start(),
    )
    .expect_err("a port is taken");
    let busy = error
        .problems
        .iter()
        .filter(|p| matches!(p, StartProblem::Bind { .. }));
    assert_eq!(busy.count(), 2, "{error}");
    assert!(
        std::net::TcpStream::connect(free_addr).is_err(),
        "somebody listens"
    );
}

struct Broken;

#[async_trait]
impl Plugin for Broken {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "broken".into(),
            ..PluginInfo::default()
        }
    }

    async fn start(&self, _: Arc<dyn Host>) -> Result<(), Fault> {
        Err(Fault::backend("the licence has expired"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

#[test]
fn a_plugin_that_does_not_start_stops_the_start_with_its_words() {
    let error = block_on(with_chain(Chain::new().plugin(Broken)).start()).expect_err("a plugin is broken");
    assert!(
        matches!(&error.problems[..], [StartProblem::Plugin { plugin, .. }] if plugin == "broken"),
        "{error}"
    );
    assert!(error.to_string().contains("the licence has expired"), "{error}");
}

#[test]
fn a_start_that_is_given_up_leaves_nothing_running() {
    let mut starting = Box::pin(open().start());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // polled once, it has begun; then whoever wanted it changes their mind
    let _ = starting.as_mut().poll(&mut context);
    drop(starting);
    drop(start(open()));
}
