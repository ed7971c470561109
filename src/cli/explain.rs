//! `jackfield explain`: the page about a code that `check` and `run` put into their reports.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jackfield::config_file::Code;

use super::exit::Outcome;
use super::output;

/// `jackfield explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The word in brackets: of `error[open_listener]` it is `open_listener`. Without one all are listed
    #[arg(value_parser = code(), hide_possible_values = true)]
    code: Option<Code>,
}

fn code() -> impl TypedValueParser<Value = Code> {
    let texts = Code::ALL.iter().map(|code| code.as_str());
    PossibleValuesParser::new(texts)
        .try_map(|text| Code::from_text(&text).ok_or("the list of codes is not the list of codes"))
}

impl Explain {
    pub(crate) fn run(self) -> Outcome {
        match self.code {
            Some(code) => output::text(code.page().as_bytes()),
            None => Code::ALL
                .iter()
                .try_for_each(|code| output::line(format_args!("{code:<16} {}", code.summary()))),
        }
    }
}
