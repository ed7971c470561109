//! Jackfield with a chain of plugins that do nothing: what the chain itself costs. Built-in ones are closures of this program, as
//! built-in plugins are, native ones instances of the library `noop.rs` beside it. A kind of plugin that comes later gets a flag of its own here
//! and a line in `brokers.toml`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jackfield::native::NativeLoader;
use jackfield::plugin_api::{Flow, PluginLoader as _, PluginSource};
use jackfield::{Broker, Chain, Listener, Use};

/// Which plugins.
#[derive(Debug, Args)]
pub(crate) struct Chained {
    /// Where to listen, on loopback
    port: u16,
    /// So many built-in plugins
    #[arg(long, default_value_t = 0)]
    builtin: usize,
    /// So many instances of a native plugin
    #[arg(long, default_value_t = 0, requires = "library")]
    native: usize,
    /// The library of the native plugin
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl Chained {
    /// Runs the broker until somebody ends the process.
    pub(crate) fn run(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = Listener::tcp(format!("127.0.0.1:{}", self.port))
                .anonymous(true)
                .with_chain(self.chain().await?);
            let broker = Broker::builder().shards(2).listener(listener).start().await;
            let _running = broker.map_err(io::Error::other)?;
            loop {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
        })
    }

    async fn chain(&self) -> io::Result<Chain> {
        let mut chain = Chain::new();
        for _ in 0..self.builtin {
            chain = chain.on_publish("#", |_, _| Flow::Continue);
        }
        let library = self.library.as_deref().unwrap_or(Path::new(""));
        let loader = NativeLoader::new(library.parent().map(Path::to_owned));
        let source = PluginSource {
            what: library.file_name().unwrap_or_default().to_string_lossy().into(),
            ..PluginSource::default()
        };
        for at in 0..self.native {
            let name = format!("noop-{at}");
            let plugin = loader.load(&name, &source, "{}").await;
            chain = chain.plugin(Use::new(name, plugin.map_err(io::Error::other)?));
        }
        Ok(chain)
    }
}
