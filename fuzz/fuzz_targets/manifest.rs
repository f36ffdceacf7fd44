//! Any bytes as a manifest: no panic, every fault inside the text, what is accepted is accepted again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_model::manifest::{self, Appearance, Document, Options};

fuzz_target!(|bytes: &[u8]| {
    let lookup = |name: &str| (!name.starts_with('U')).then(|| format!("x{name}"));
    for variables in [None, Some(&lookup as &manifest::Lookup<'_>)] {
        let parsed = manifest::read("fuzz.yaml", bytes.to_vec(), &Options { variables, workspace: None });
        for diagnostic in &parsed.diagnostics {
            for label in &diagnostic.labels {
                assert!(label.at.span.start <= label.at.span.end, "{diagnostic:?}");
                assert!(
                    label.at.source.text().get(label.at.span.start..label.at.span.end).is_some(),
                    "{diagnostic:?}"
                );
            }
            let drawn = diagnostic.render(Appearance::PLAIN);
            assert!(!drawn.contains('\u{1b}') && drawn.contains(diagnostic.code), "{drawn}");
        }
        assert!(parsed.has_errors() || !parsed.documents.is_empty());
        for document in parsed.documents {
            if let Document::Volume { manifest, .. } = document {
                manifest.volume.check().expect("a manifest that was accepted breaks no rule");
            }
        }
    }
});
