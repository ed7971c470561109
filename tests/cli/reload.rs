//! Reading the configuration again: by SIGHUP, or because files have changed.

use std::fs;
use std::path::Path;

use jackfield_tests::wire::{Client, Connect, Version};
use rustix::process::Signal;

use crate::program::{Broker, folder};

const FILE: &str = "version = 1\n[listeners.main]\nbind = '127.0.0.1:0'\nanonymous = true\n";
const REWRITES: &str = "chain = ['rewrite']\n[plugins.rewrite]\nuse = 'builtin:topic-rewrite'\n\
    config = { rules = [{ from = 'a/#', to = 'b/{1}' }] }\n";

fn write(folder: &Path, text: &str) {
    // At once, as an editor does it.
    fs::write(folder.join("new"), text).expect("a file can be written");
    fs::rename(folder.join("new"), folder.join("jackfield.toml")).expect("a file can be renamed");
}

fn start(folder: &Path, flags: &[&str]) -> (Broker, Client) {
    let file = folder.join("jackfield.toml").display().to_string();
    let broker = Broker::start(&[&["--config", &file], flags].concat());
    let mut client = Connect::new(broker.addr(), Version::V5, "stays").connect();
    client.subscribe("#", 0);
    (broker, client)
}

#[test]
fn a_hangup_reads_the_configuration_again() {
    let folder = folder(&[("jackfield.toml", FILE)]);
    let (mut broker, mut client) = start(folder.path(), &[]);
    write(folder.path(), &format!("{FILE}{REWRITES}"));
    broker.running.signal(Signal::HUP);
    broker.running.tells("plugin `rewrite` added");
    broker.running.tells("listeners.main.chain");
    client.publish("a/x", "1", 0).expect_publish("b/x", "1");
    // What is wrong is told as `check` tells it, and nothing has changed.
    write(
        folder.path(),
        &format!("{FILE}{}", REWRITES.replace("from", "form")),
    );
    broker.running.signal(Signal::HUP);
    broker.running.tells("error[unknown_key]");
    broker.running.tells("did you mean `from`");
    broker.running.tells("everything goes on as it was");
    client.publish("a/x", "2", 0).expect_publish("b/x", "2");
    // So is what only a restart can change.
    write(folder.path(), &format!("{FILE}[node]\nworker_threads = 7\n"));
    broker.running.signal(Signal::HUP);
    broker
        .running
        .tells("node.worker_threads: (not set) → 7 (with a restart)");
    write(folder.path(), FILE);
    broker.running.signal(Signal::HUP);
    broker.running.tells("plugin `rewrite` removed");
    client.publish("a/x", "3", 0).expect_publish("a/x", "3");
    assert_eq!(broker.stop().code, 0);
}

#[test]
fn files_that_are_watched_are_read_again_by_themselves() {
    let folder = folder(&[("jackfield.toml", FILE)]);
    let (mut broker, mut client) = start(folder.path(), &["--watch"]);
    write(folder.path(), &format!("{FILE}{REWRITES}"));
    broker.running.tells("plugin `rewrite` added");
    client.publish("a/x", "1", 0).expect_publish("b/x", "1");
    write(folder.path(), "version = 2\n");
    broker.running.tells("everything goes on as it was");
    write(folder.path(), FILE);
    broker.running.tells("plugin `rewrite` removed");
    assert_eq!(broker.stop().code, 0);
}

#[test]
fn levels_of_the_log_and_files_of_plugins_change_too() {
    let acl =
        "[plugins.acl]\nuse = 'builtin:acl-file'\nconfig = { file = 'FOLDER/acl.toml', watch = false }\n";
    let rules = |topics| format!("[[rules]]\nallow = ['publish', 'subscribe']\ntopics = ['{topics}']\n");
    let folder = folder(&[("acl.toml", &rules("#"))]);
    let acl = acl.replace("FOLDER", &folder.path().display().to_string());
    let text = format!("{FILE}chain = ['acl']\n{acl}");
    write(folder.path(), &text);
    let (mut broker, mut client) = start(folder.path(), &[]);
    client.publish("a", "1", 0).expect_publish("a", "1");
    fs::write(folder.path().join("acl.toml"), rules("other/#")).unwrap();
    write(folder.path(), &format!("{text}[log]\nlevel = 'debug'\n"));
    broker.running.signal(Signal::HUP);
    broker.running.tells("log.level: \"info\" → \"debug\" (at once)");
    client.publish("a", "2", 0);
    client.publish("other/a", "3", 0).expect_publish("other/a", "3");
    drop(Connect::new(broker.addr(), Version::V5, "late").connect());
    broker.running.tells("client_id=late");
    let ended = broker.stop();
    assert!(
        ended.err.contains("their files were read again plugins=\"acl\""),
        "{}",
        ended.err
    );
}
