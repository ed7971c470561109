//! `jackfield config`: what holds, what differs, and changing a file without an editor.

use crate::program::{folder, run};

const FILE: &str =
    "# the plant's broker\n[listeners.main]\nbind = \"127.0.0.1:1883\"  # only here\nanonymous = true\n";

#[test]
fn a_value_is_set_and_the_comments_stay() {
    let folder = folder(&[("jackfield.toml", FILE)]);
    let path = folder.path().join("jackfield.toml");
    let file = path.display().to_string();
    let text = || std::fs::read_to_string(&path).expect("the file is there");
    let set = |args: &[&str]| run(&[&["config", "set", "-c", &file], args].concat());
    let ended = set(&["listeners.main.bind=127.0.0.1:1884", "limits.inflight_max=7"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let expected = FILE.replace("1883", "1884") + "\n[limits]\ninflight_max = 7\n";
    assert_eq!(text(), expected);
    let wrong = set(&["limits.inflight_max=0"]);
    assert_eq!(wrong.code, 78, "{wrong:?}");
    assert!(
        wrong.err.contains("out_of_range") && wrong.err.contains("nothing was changed"),
        "{}",
        wrong.err
    );
    assert_eq!(text(), expected);
    assert_eq!(set(&["--unset", "limits.inflight_max"]).code, 0);
    assert!(!text().contains("inflight_max"));
}

#[test]
fn what_differs_is_listed_and_ends_with_1() {
    let other = FILE.replace("1883", "1884") + "[limits]\ninflight_max = 1024\n";
    let folder = folder(&[("a.toml", FILE), ("b.toml", &other)]);
    let [a, b] = ["a.toml", "b.toml"].map(|name| folder.path().join(name).display().to_string());
    let same = run(&["config", "diff", &a, &a]);
    assert_eq!((same.code, same.out.as_str()), (0, ""));
    let differs = run(&["config", "diff", &a, &b]);
    let expected = "- listeners.main.bind = \"127.0.0.1:1883\"\n+ listeners.main.bind = \"127.0.0.1:1884\"\n";
    assert_eq!((differs.code, differs.out.as_str()), (1, expected));
}

#[test]
fn the_schema_knows_the_plugins_of_a_file() {
    let text = format!("{FILE}[plugins.users]\nuse = \"builtin:auth-file\"\nconfig.file = \"passwd\"\n");
    let folder = folder(&[("jackfield.toml", &text), ("passwd", "")]);
    let file = folder.path().join("jackfield.toml").display().to_string();
    let schema: serde_json::Value =
        serde_json::from_str(&run(&["config", "schema", &file]).out).expect("JSON");
    let options =
        &schema["properties"]["plugins"]["properties"]["users"]["properties"]["config"]["properties"];
    assert_eq!(options["file"]["format"], "path", "{options}");
    let sarif = run(&["check", &file, "--format", "sarif"]);
    let told: serde_json::Value = serde_json::from_str(&sarif.out).expect("JSON");
    assert_eq!(told["runs"][0]["results"][0]["ruleId"], "unused", "{told}");
}

#[test]
fn a_plugin_that_is_a_file_needs_not_be_there_for_a_check() {
    let text = "[node]\nplugin_dirs = ['plugins']\n[plugins.mine]\nuse = \"native:mine.so\"\n\
                [chains]\ndefault = ['mine']\n[listeners.main]\nbind = \"127.0.0.1:1883\"\n";
    let folder = folder(&[("jackfield.toml", text)]);
    let file = folder.path().join("jackfield.toml").display().to_string();
    assert_eq!(run(&["check", &file]).code, 78);
    let without = run(&["check", &file, "--no-plugins"]);
    assert_eq!((without.code, without.err.as_str()), (0, ""));
}
