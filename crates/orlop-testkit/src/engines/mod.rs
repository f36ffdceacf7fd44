//! Real container engines, private to one test.

pub mod docker;
pub mod image;
pub mod namespace;
pub mod podman;

/// What both engines call the image that [`image::archive`] makes.
pub const IMAGE: &str = "localhost/busybox";

/// A volume as an engine lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its driver: `local`, or a plugin's name.
    pub driver: String,
    /// Its name.
    pub name: String,
}

/// The output of `volume ls` in the format `{{.Driver}} {{.Name}}`.
pub(crate) fn parse_listing(text: &str) -> Vec<Listed> {
    let row = |line: &str| {
        let (driver, name) = line.split_once(' ')?;
        Some(Listed { driver: driver.to_owned(), name: name.to_owned() })
    };
    text.lines().filter_map(row).collect()
}
