//! `jackfield passwd`, piped, and the broker that reads its file.

use jackfield_tests::wire::{Connect, Version};

use crate::program::{Broker, folder, run, run_with};

#[test]
fn users_come_and_go() {
    let folder = folder(&[]);
    let file = folder.path().join("passwd").display().to_string();
    let of = |verb, user| ["passwd", verb, &file, user].map(str::to_owned);

    assert_eq!(run_with("open sesame\n", &of("add", "anna")).code, 0);
    assert_eq!(run_with("other", &of("add", "bert")).code, 0);
    assert_eq!(run_with("open sesame\n", &of("verify", "anna")).code, 0);
    let wrong = run_with("open\n", &of("verify", "anna"));
    assert_eq!(
        (wrong.code, wrong.err.as_str()),
        (1, "jackfield: wrong password\n")
    );

    let list = run(&["passwd", "list", &file]);
    let users: Vec<&str> = list
        .out
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(users, ["anna", "bert"]);
    assert!(!list.out.contains("sesame"), "{}", list.out);

    // another password in place of the first
    assert_eq!(run_with("changed\n", &of("add", "anna")).code, 0);
    assert_eq!(run_with("open sesame\n", &of("verify", "anna")).code, 1);
    assert_eq!(run_with("changed\n", &of("verify", "anna")).code, 0);

    assert_eq!(run(&of("rm", "anna")).code, 0);
    let gone = run_with("changed\n", &of("verify", "anna"));
    assert_eq!(gone.code, 1);
    assert!(gone.err.contains("anna"), "{}", gone.err);
    assert_eq!(run(&of("rm", "anna")).code, 1);
    assert_eq!(run_with("other\n", &of("verify", "bert")).code, 0);
}

#[test]
fn what_cannot_be_a_user_is_refused() {
    let folder = folder(&[]);
    let file = folder.path().join("passwd").display().to_string();
    let empty = run_with("\n", &["passwd", "add", &file, "anna"]);
    assert_eq!(empty.code, 1, "{}", empty.err);
    let colon = run_with("x\n", &["passwd", "add", &file, "an:na"]);
    assert_eq!(colon.code, 1, "{}", colon.err);
    assert_eq!(run(&["passwd", "list", &file]).code, 74, "no file was made");
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[]);
    let file = folder.path().join("passwd");
    assert_eq!(
        run_with(
            "x\n",
            &[
                "passwd".as_ref(),
                "add".as_ref(),
                file.as_os_str(),
                "anna".as_ref()
            ]
        )
        .code,
        0
    );
    let mode = file.metadata().expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

/// What the front page tells a newcomer to do, with one rule more.
#[test]
fn the_broker_lets_in_whom_the_file_names() {
    let folder = folder(&[(
        "acl.toml",
        "[[rules]]\nwho = { user = '*' }\nallow = ['publish', 'subscribe']\ntopics = ['plant/%u/#']\n",
    )]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "version = 1\n[plugins.passwords]\nuse = 'builtin:auth-file'\nconfig = {{ file = '{}' }}\n\
         [plugins.acl]\nuse = 'builtin:acl-file'\nconfig = {{ file = '{}' }}\n\
         [chains]\ndevices = ['passwords', 'acl']\n[listeners.main]\nbind = '127.0.0.1:0'\nchain = 'devices'\n",
        at("passwd"),
        at("acl.toml")
    );
    std::fs::write(at("jackfield.toml"), text).expect("a file can be written");
    assert_eq!(
        run_with("sesame\n", &["passwd", "add", &at("passwd"), "anna"]).code,
        0
    );
    let broker = Broker::start(&["--config", &at("jackfield.toml")]);
    let port = broker.port();
    let publish = |more: &[&str]| {
        let args: Vec<&str> = ["pub", "-p", &port, "-q", "1", "-m", "x"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        run(&args).code
    };
    assert_eq!(publish(&["-u", "anna", "-P", "sesame", "-t", "plant/anna/x"]), 0);
    assert_eq!(publish(&["-u", "anna", "-P", "sesame", "-t", "plant/bert/x"]), 1);
    assert_eq!(
        publish(&["-u", "anna", "-P", "wrong", "-t", "plant/anna/x"]),
        0x86
    );
    assert_eq!(
        publish(&["-u", "anna", "-P", "wrong", "-t", "plant/anna/x", "-V", "311"]),
        4
    );
    assert_eq!(publish(&["-t", "plant/anna/x"]), 0x87);
    let refused = run(&[
        "sub",
        "-p",
        &port,
        "-u",
        "anna",
        "-P",
        "sesame",
        "-t",
        "plant/bert/#",
        "-C",
        "1",
    ]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    Connect::new(broker.addr(), Version::V311, "c")
        .username("anna")
        .password("wrong")
        .refused(4);
    assert_eq!(broker.stop().code, 0);
}
