//! `jackfield run --record NAME=FILE`: the calls of one plugin, written down while the broker runs, for `plugin replay`. A
//! loader that stands before the others and wraps what they make; the broker knows nothing of it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use plugin_api::{LoadError, Plugin, PluginInfo, PluginLoader, PluginSource, async_trait};
use plugin_testkit::record::{Limits, Recorded, Recorder};

use super::exit::{Exit, Failure, Outcome};

/// What is to be recorded: a plugin's name in the configuration, and a file that isn't there yet.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    name: String,
    file: PathBuf,
}

/// Reads `NAME=FILE`.
pub(crate) fn wish(text: &str) -> Result<Wish, String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(Wish {
            name: name.to_owned(),
            file: file.into(),
        }),
        _ => Err("NAME=FILE, with the name of a plugin in the configuration".to_owned()),
    }
}

/// The recorders, once the configuration has been read and they may be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recordings(Arc<OnceLock<Vec<(String, Recorder)>>>);

impl Recordings {
    /// One that is made already.
    pub(crate) fn of_one(name: &str, recorder: Recorder) -> Self {
        Self(Arc::new(OnceLock::from(vec![(name.to_owned(), recorder)])))
    }

    /// Puts itself before the loaders.
    pub(crate) fn before(&self, loaders: Vec<Arc<dyn PluginLoader>>) -> Vec<Arc<dyn PluginLoader>> {
        let wrap = |loader| {
            let recordings = self.clone();
            Arc::new(RecordingLoader { loader, recordings }) as Arc<dyn PluginLoader>
        };
        loaders.into_iter().map(wrap).collect()
    }

    /// Makes the files, which their owner alone may read, for payloads are in them. Fails for a name that none of `names` is.
    pub(crate) fn open<'a>(&self, wishes: &[Wish], names: impl Iterator<Item = &'a str>) -> Outcome {
        check(wishes, &names.collect::<Vec<_>>())?;
        let recorder = |wish: &Wish| {
            let recorder = create(wish).and_then(|file| Recorder::new(file, Limits::default()));
            let recorder = recorder.map_err(|error| Failure::io(wish.file.display(), &error))?;
            Ok((wish.name.clone(), recorder))
        };
        let recorders = wishes.iter().map(recorder).collect::<Result<_, Failure>>()?;
        // Opened once, before the first plugin is loaded.
        let _ = self.0.set(recorders);
        Ok(())
    }

    fn of(&self, name: &str) -> Option<&Recorder> {
        let (_, recorder) = self.0.get()?.iter().find(|(known, _)| known == name)?;
        Some(recorder)
    }
}

fn check(wishes: &[Wish], names: &[&str]) -> Outcome {
    let Some(wish) = wishes.iter().find(|wish| !names.contains(&&*wish.name)) else {
        return Ok(());
    };
    let message = format!(
        "--record: no listener and no bridge uses a plugin `{}`",
        wish.name
    );
    let hint = match names {
        [] => "none is used in this configuration".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    Err(Failure::new(Exit::Usage, message).hint(hint))
}

fn create(wish: &Wish) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&wish.file)
}

struct RecordingLoader {
    loader: Arc<dyn PluginLoader>,
    recordings: Recordings,
}

#[async_trait]
impl PluginLoader for RecordingLoader {
    fn kind(&self) -> &'static str {
        self.loader.kind()
    }

    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError> {
        self.loader.inspect(source).await
    }

    async fn check(&self, source: &PluginSource, options: &str) -> Result<(), LoadError> {
        self.loader.check(source, options).await
    }

    fn file(&self, source: &PluginSource) -> Option<PathBuf> {
        self.loader.file(source)
    }

    async fn load(
        &self,
        name: &str,
        source: &PluginSource,
        options: &str,
    ) -> Result<Arc<dyn Plugin>, LoadError> {
        let plugin = self.loader.load(name, source, options).await?;
        Ok(match self.recordings.of(name) {
            Some(recorder) => Recorded::wrap(plugin, recorder.clone()),
            None => plugin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_has_a_name_and_a_file() {
        let wish = wish("auth=a=b.jsonl").unwrap();
        assert_eq!(
            (wish.name.as_str(), wish.file),
            ("auth", PathBuf::from("a=b.jsonl"))
        );
        for wrong in ["", "auth", "auth=", "=file"] {
            assert!(super::wish(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_nobody_has_is_told() {
        let wishes = [wish("auht=x").unwrap()];
        assert!(check(&wishes, &["auth"]).is_err());
        assert!(check(&wishes, &["auht"]).is_ok());
    }
}
