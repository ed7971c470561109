//! From nothing to a broker with a user: the commands that `init` names, in their order, each in a process of its own.

use crate::program::{Broker, folder, run, run_with};

#[test]
fn the_way_that_init_shows_leads_to_a_broker_with_a_user() {
    let folder = folder(&[]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (file, users) = (at("jackfield.toml"), at("passwd"));
    // without a terminal nothing is asked
    let init = run(&["init", &file, "--listen", "127.0.0.1:0"]);
    assert_eq!((init.code, init.err.as_str()), (0, ""));
    let next: Vec<&str> = init
        .out
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "Next:")
        .skip(1)
        .collect();
    let expected = [
        format!("jackfield passwd add {users} NAME"),
        format!("jackfield check {file}"),
        format!("jackfield --config {file}"),
    ];
    assert_eq!(next, expected);

    assert_eq!(run_with("secret\n", &["passwd", "add", &users, "anna"]).code, 0);
    assert_eq!(run(&["check", "--strict", &file]).code, 0);
    let broker = Broker::start(&["--config", &file]);
    let port = broker.port();
    let publish = |password: &str| {
        run(&[
            "pub", "-p", &port, "-u", "anna", "-P", password, "-t", "a", "-m", "x",
        ])
        .code
    };
    assert_eq!((publish("secret"), publish("guess")), (0, 0x86));
    assert_eq!(broker.stop().code, 0);

    let again = run(&["init", &file]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("is there already"), "{}", again.err);
}
