//! File names and secrets in options: what a plugin gets, and that nothing else shows a secret.

use super::*;

#[test]
fn file_names_are_relative_to_the_file_they_stand_in() {
    let text = "include = ['conf.d/*.toml']\n[plugins.a]\nuse = 'builtin:auth-file'\nconfig.file = 'passwd'\n\
        [plugins.b]\nuse = 'builtin:auth-file'\nconfig.file = '/etc/passwd'\n\
        [listeners.main]\nbind = '127.0.0.1:0'\n\
        chain = ['a', 'b', { plugin = 'a', with = { file = 'sub/passwd' } }, 'c']\n";
    let case = Case::new(text).file(
        "conf.d/c.toml",
        "[plugins.c]\nuse = 'builtin:auth-file'\nconfig.file = 'passwd'\n",
    );
    let folder = case.folder.path().display().to_string();
    let options: Vec<_> = case
        .settings()
        .instances
        .into_iter()
        .map(|instance| instance.options)
        .collect();
    let file = |name: &str| format!(r#"{{"file":"{name}"}}"#);
    assert_eq!(
        options,
        [
            file(&format!("{folder}/passwd")),
            file("/etc/passwd"),
            file(&format!("{folder}/sub/passwd")),
            file(&format!("{folder}/conf.d/passwd")),
        ]
    );
}

const SECRET: &str = "[plugins.a]\nuse = 'builtin:auth-file'\nconfig = { file = 'x', key = KEY }\n\
    [listeners.main]\nbind = '127.0.0.1:0'\nchain = ['a']\n";

#[test]
fn a_secret_may_stand_elsewhere() {
    let options = |case: Case| {
        let settings = case.settings();
        let options: serde_json::Value = serde_json::from_str(&settings.instances[0].options).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        options["key"].as_str().unwrap().to_owned()
    };
    let with = |key: &str| Case::new(&SECRET.replace("KEY", key));
    assert_eq!(options(with("'hunter2'")), "hunter2");
    assert_eq!(
        options(with("{ env = 'DB' }").variable("DB", "hunter2")),
        "hunter2"
    );
    assert_eq!(
        options(with("{ file = 's/key' }").file("s/key", "hunter2\r\n")),
        "hunter2"
    );
    let case = with("{ credential = 'db' }").file("cred/db", "hunter2");
    let folder = case.folder.path().join("cred").display().to_string();
    assert_eq!(
        options(case.variable("CREDENTIALS_DIRECTORY", &folder)),
        "hunter2"
    );
    for (key, expected) in [
        (
            "{ env = 'DB' }",
            "bad_secret: `plugins.a.config.key`: the environment variable `DB` isn't set @ j.toml:3:30",
        ),
        (
            "{ env = 'DB', file = 'x' }",
            "bad_secret: `plugins.a.config.key`: needs one of `env`, `file` and `credential` @ j.toml:3:30",
        ),
        (
            "{ envy = 'DB' }",
            "unknown_key: unknown key `plugins.a.config.key.envy` @ j.toml:3:32",
        ),
    ] {
        with(key).finds(&[expected]);
    }
    let report = with("{ file = 'nothing' }").report();
    assert!(report.contains("nothing can't be read: No such file"), "{report}");
}

#[cfg(unix)]
#[test]
fn a_secret_that_everybody_can_read_is_a_doubt() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new(&SECRET.replace("KEY", "{ file = 'key' }")).file("key", "hunter2");
    let file = case.folder.path().join("key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        case.found().iter().map(|found| found.code).collect::<Vec<_>>(),
        [Code::OpenSecret]
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(case.found(), Report::default());
}

#[test]
fn no_report_and_no_list_shows_a_secret() {
    let text = SECRET.replace("KEY", "'hunter2', watch = 3");
    let report = Case::new(&text).report();
    assert!(
        report.contains("watch") && !report.contains("hunter2"),
        "{report}"
    );
    assert!(report.contains("key = *********, watch = 3"), "{report}");
    let report = Case::new(&text)
        .set("plugins.a.config.key=[\"hunter3\"]")
        .report();
    assert!(!report.contains("hunter2"), "{report}");
    let case = Case::new(&SECRET.replace("KEY", "'hunter2'")).set("plugins.a.config.key=hunter3");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let loaders: [Arc<dyn PluginLoader>; 1] = [Arc::new(Paper)];
    let entries = runtime.block_on(effective(&case.sources, &loaders)).unwrap();
    let key = entries
        .iter()
        .find(|entry| entry.key == "plugins.a.config.key")
        .unwrap();
    assert_eq!(
        (key.value.as_str(), key.origin.as_str()),
        ("\"***\"", "--set plugins.a.config.key=***")
    );
    assert!(!format!("{entries:?}").contains("hunter"));
}

#[test]
fn the_schema_has_the_options_of_the_plugins() {
    let case = Case::new(&SECRET.replace("KEY", "'hunter2'"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let loaders: [Arc<dyn PluginLoader>; 1] = [Arc::new(Paper)];
    let text = runtime
        .block_on(json_schema_with(&case.sources, &loaders))
        .unwrap();
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let config = &schema["properties"]["plugins"]["properties"]["a"]["properties"]["config"];
    assert_eq!(config["properties"]["watch"]["type"], "boolean");
    assert_eq!(
        config["properties"]["key"]["anyOf"][1]["properties"]["env"]["type"][0],
        "string"
    );
    assert!(!text.contains("hunter2"));
}
