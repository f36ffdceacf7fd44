//! How the data of a volume is kept. A backend has the same set of modules as `image`: what it is
//! made with (`format`), how it gets onto its base mount and off it (`attach`), what is wrong with it
//! (`health`), and how it goes (`remove`). It knows places and sizes, no records: those are for
//! `volume`, `attachment` and `reconcile`.

pub(crate) mod image;
