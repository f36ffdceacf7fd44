//! Prints `docs/manifest.md`.

fn main() {
    print!("{}", orlop_model::manifest::volume_reference());
}
