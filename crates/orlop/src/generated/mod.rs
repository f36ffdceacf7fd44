//! What is made from the definition of the command line and from the model: completions, man pages,
//! the reference and the JSON Schema.

mod reference;

use std::{fs, io, path::Path};

use clap_complete::Shell;
use orlop_model::{Error, ErrorKind, Result, manifest};

use crate::{
    exit::Exit,
    grammar::{Cli, administration::SchemaType},
    output::Console,
};

/// A generated file: its name, and what is in it.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
}

/// The script that a shell completes with.
pub(crate) fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::definition(), "orlop", &mut script);
    script
}

/// One man page a command, in section 1.
pub(crate) fn man_pages() -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    add_man_pages(&built(), &mut pages)?;
    Ok(pages)
}

/// The definition with all that clap adds to it, such as global flags.
fn built() -> clap::Command {
    let mut definition = Cli::definition().disable_help_subcommand(true);
    definition.build();
    definition
}

fn add_man_pages(command: &clap::Command, pages: &mut Vec<Page>) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(unmade)?;
    pages.push(Page { name: format!("{name}.1"), text });
    // `orlop resource get` and its like are the verbs once more, under one page.
    let repeated = command.get_name() == "resource";
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && !repeated) {
        add_man_pages(sub, pages)?;
    }
    Ok(())
}

fn unmade(fault: io::Error) -> Error {
    Error::new(ErrorKind::Host, format!("the man page can't be made: {fault}"))
}

/// `orlop completions`.
pub(crate) fn completions(shell: Shell, console: &mut Console) -> Result<Exit> {
    console.print(String::from_utf8_lossy(&completion(shell)));
    Ok(Exit::Success)
}

/// `orlop man`.
pub(crate) fn man(directory: Option<&Path>, console: &mut Console) -> Result<Exit> {
    let pages = man_pages()?;
    let Some(directory) = directory else {
        if let Some(first) = pages.first() {
            console.print(String::from_utf8_lossy(&first.text));
        }
        return Ok(Exit::Success);
    };
    let unwritable = |path: &Path, fault: io::Error| {
        Error::new(ErrorKind::Host, format!("can't write {}: {fault}", path.display()))
            .hint("name a directory that this user may write into")
    };
    fs::create_dir_all(directory).map_err(|fault| unwritable(directory, fault))?;
    for page in pages {
        let file = directory.join(&page.name);
        fs::write(&file, &page.text).map_err(|fault| unwritable(&file, fault))?;
        console.print(file.display().to_string());
    }
    Ok(Exit::Success)
}

/// `orlop schema`.
pub(crate) fn schema(kind: SchemaType, console: &mut Console) -> Result<Exit> {
    let schema = match kind {
        SchemaType::Volume => manifest::volume_schema(),
        SchemaType::Snapshot => manifest::snapshot_schema(),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|fault| Error::new(ErrorKind::Host, format!("the schema can't be written: {fault}")))?;
    console.print(text);
    Ok(Exit::Success)
}

/// `orlop reference`.
pub(crate) fn reference() -> String {
    reference::markdown(&built(), &Exit::ALL.map(|exit| (exit as u8, exit.meaning())))
}
