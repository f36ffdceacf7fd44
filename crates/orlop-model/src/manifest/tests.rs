//! The reader as a whole: what it costs at worst, what it promises for any input, and how faults look.

use proptest::prelude::*;

use super::*;
use crate::{
    AccessMode, FilesystemChoice, Layer, MountOption, Size, VolumeMode, VolumeType, spec::DirectoryMode,
};

const VOLUME: &str =
    "version: v1beta\ntype: volume\nvolume: {size: 1Gi, accessMode: ReadWriteOnce, type: temp}\n";

fn parsed(name: &str, text: &str) -> Parsed {
    read(name, text.into(), &Options::default())
}

fn codes(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn a_file_of_the_most_bytes_ends_soon_whatever_is_in_it() {
    let most = limits::MAX_BYTES;
    let fill = |piece: &str| piece.repeat(most / piece.len());
    let opening =
        |piece: &str, rest: &str| format!("{piece}{}", rest.repeat((most - piece.len()) / rest.len()));
    let indented: String = (0..1400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for (text, code) in [
        (fill("["), "too-deep"),
        (fill("{a: "), "too-deep"),
        (fill("- "), "too-deep"),
        (fill("? "), "too-deep"),
        (indented, "too-deep"),
        (fill("- a\n"), "too-complex"),
        (fill("a: b\n"), "duplicate-key"),
        (opening("[", "a,"), "too-complex"),
        (opening("&a [", "*a,"), "unknown-anchor"),
        (opening("a: &a x\nb: [", "*a,"), "too-complex"),
        (fill("---\n"), "too-many-documents"),
        (fill("---\na: [\n"), "too-many-faults"),
        (fill("--- [\n"), "too-many-faults"),
        (fill("x"), "wrong-kind"),
        (opening("\"", "\\x41"), "syntax"),
        (opening("a: |\n", " b\n"), "missing-key"),
        (fill("#\n"), "empty"),
        (fill("\n"), "empty"),
        (fill("\t"), "empty"),
        (fill("!"), "syntax"),
        (fill("&"), "empty"),
        (fill("'"), "wrong-kind"),
        (fill("%a\n"), "syntax"),
        (opening(&format!("name: a\n{VOLUME}description: '"), "${"), "syntax"),
        (opening(&format!("name: a\n{VOLUME}description: "), "$1"), "too-many-faults"),
        (opening(&format!("name: a\n{VOLUME}description: "), "${"), "too-many-faults"),
        (opening(&format!("name: a\n{VOLUME}description: "), "${ä"), "too-many-faults"),
        (opening(&format!("name: a\n{VOLUME}description: "), "${{"), "placeholder"),
        (opening(&format!("name: a\n{VOLUME}description: "), "$A"), "too-complex"),
        (opening(&format!("{VOLUME}? "), "k"), "unknown-key"),
    ] {
        let lookup = |_: &str| Some("x".repeat(100_000));
        let parsed = read("f", text.clone().into(), &Options { variables: Some(&lookup), workspace: None });
        let codes = codes(&parsed);
        let shown: String = text.chars().take(40).collect();
        assert!(codes.contains(&code), "{shown:?}: {codes:?}");
        let drawn = render(&parsed.diagnostics, Appearance::PLAIN);
        assert!(drawn.len() < 500_000, "{shown:?}: {} bytes of diagnostics", drawn.len());
    }
}

#[test]
fn variables_can_not_blow_a_file_up() {
    let lookup = |_: &str| Some("x".repeat(100_000));
    let text = format!("name: a\n{VOLUME}tags: [{}]\n", "'$A', ".repeat(1000));
    let parsed = read("f", text.into(), &Options { variables: Some(&lookup), workspace: None });
    assert!(codes(&parsed).contains(&"too-complex"));
}

#[test]
fn a_file_beyond_the_limit_is_refused_by_its_size() {
    let parsed = read("f", vec![b' '; 10_000_000], &Options::default());
    assert_eq!(codes(&parsed), ["too-large"]);
    let text = render(&parsed.diagnostics, Appearance::PLAIN);
    assert!(text.contains("f: the file has more than 1048576 bytes (1 MiB)"), "{text}");
    let known = Source::too_large("f", Some(10_000_000));
    assert_eq!(known.message, "the file has 10000000 bytes; a manifest has at most 1048576 (1 MiB)");
}

#[test]
fn names_are_compared_across_files_by_workspace() {
    let files = [
        parsed("a.yaml", &format!("name: one\n{VOLUME}---\nname: two\n{VOLUME}")),
        parsed(
            "b.yaml",
            &format!("name: two\nworkspace: public\n{VOLUME}---\nname: one\nworkspace: team\n{VOLUME}"),
        ),
        parsed("c.yaml", &format!("name: two\nlayer: nonsense\n{VOLUME}")),
    ];
    let places = |workspace: Option<&WorkspaceName>| -> Vec<String> {
        let at = |diagnostic: &Diagnostic| {
            let places: Vec<String> = diagnostic.labels.iter().map(|label| label.at.to_string()).collect();
            places.join(" and ")
        };
        duplicate_names(&files, workspace).iter().map(at).collect()
    };
    assert_eq!(places(None), ["b.yaml:1:7 and a.yaml:6:7", "c.yaml:1:7 and a.yaml:6:7"]);
    let team = WorkspaceName::check("team").unwrap();
    assert_eq!(places(Some(&team)), ["b.yaml:7:7 and a.yaml:1:7", "c.yaml:1:7 and a.yaml:6:7"]);
    insta::assert_snapshot!(render(&duplicate_names(&files, None), Appearance::PLAIN));
}

#[test]
fn faults_look_as_the_terminal_can_show_them() {
    let text = "name: data\nversion: v1beta\ntype: volume\nvolume:\n  size: 1gi\n  accessMode: ReadWriteOnce\n  type: temp\n  size: 2Gi\n";
    let faults = parsed("näme\u{1b}[0m.yaml", text).diagnostics;
    insta::assert_snapshot!(
        "unicode",
        render(&faults, Appearance { color: false, unicode: true, width: 60 })
    );
    let colored = render(&faults, Appearance { color: true, unicode: true, width: 60 });
    insta::assert_snapshot!("color", colored.replace('\u{1b}', "␛"));
    insta::assert_snapshot!("error", invalid_manifest(&faults).to_string());
    insta::assert_snapshot!("line", faults[0].to_string());
    assert_eq!(invalid_manifest(&faults).kind, crate::ErrorKind::InvalidManifest);
}

#[test]
fn what_get_shows_can_be_applied_again() {
    let json = r#"{"name":"a","version":"v1beta","type":"volume","layer":"user","description":"costs $$5",
        "volume":{"size":"1Gi","accessMode":"ReadWriteMany","type":"temp","mode":"0770"},"workspace":"team",
        "status":{"id":"019a","notes":["$HOME ${{x}}"],"used":1.5,"none":null}}"#;
    let parsed = read("-", json.into(), &Options { variables: Some(&|_| None), workspace: None });
    let [Document::Volume { manifest, workspace, .. }] = &parsed.documents[..] else { panic!("{parsed:?}") };
    assert_eq!(manifest.description.as_deref(), Some("costs $5"));
    assert_eq!(workspace.as_ref().map(|w| w.value.as_str()), Some("team"));
}

/// Writes a text as a YAML scalar that means it.
fn quoted(text: &str) -> String {
    let text =
        escape(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{text}\"")
}

fn yaml(manifest: &VolumeManifest) -> String {
    let volume = &manifest.volume;
    let mut lines = vec![
        format!("name: {}", quoted(manifest.name.as_str())),
        "version: v1beta".to_owned(),
        "type: volume".to_owned(),
        format!("layer: {}", manifest.layer),
        "volume:".to_owned(),
        format!("  size: {}", volume.size),
        format!("  accessMode: {}", volume.access_mode),
        format!("  type: {}", volume.volume_type),
        format!("  volumeMode: {}", volume.volume_mode),
        format!("  filesystem: {}", volume.filesystem),
        format!("  preallocate: {}", volume.preallocate),
        format!("  protection: {}", volume.protection),
    ];
    lines.extend(volume.temp_grace_period.iter().map(|period| format!("  tempGracePeriod: {period}")));
    lines.extend(volume.pool.iter().map(|pool| format!("  pool: {}", quoted(pool.as_str()))));
    lines.extend(volume.uid.iter().map(|uid| format!("  uid: {uid}")));
    lines.extend(volume.gid.iter().map(|gid| format!("  gid: {gid}")));
    lines.extend(volume.mode.iter().map(|mode| format!("  mode: {mode}")));
    lines.extend((!volume.mount_options.is_empty()).then(|| "  mountOptions:".to_owned()));
    lines.extend(volume.mount_options.iter().map(|option| format!("  - {option}")));
    lines.extend(manifest.description.iter().map(|text| format!("description: {}", quoted(text))));
    lines.extend(manifest.owner.iter().map(|text| format!("owner: {}", quoted(text))));
    lines.extend((!manifest.tags.is_empty()).then(|| "tags:".to_owned()));
    lines.extend(manifest.tags.iter().map(|tag| format!("- {}", quoted(tag))));
    lines.join("\n")
}

fn spec() -> impl Strategy<Value = crate::VolumeSpec> {
    let words = (
        prop::sample::select(AccessMode::ALL.to_vec()),
        prop::sample::select(VolumeType::ALL.to_vec()),
        prop::sample::select(VolumeMode::ALL.to_vec()),
        prop::sample::select(FilesystemChoice::ALL.to_vec()),
    );
    let ids =
        (prop::option::of(0..u32::MAX), prop::option::of(0..u32::MAX), prop::option::of(0..=0o7777_u32));
    let pool = prop::option::of("[a-z0-9]([-a-z0-9]{0,46}[a-z0-9])?");
    let options = prop::sample::subsequence(MountOption::ALL.to_vec(), 0..=4);
    let life = (any::<bool>(), any::<bool>(), prop::option::of(1_u64..90_000));
    (Size::LEAST.bytes()..=i64::MAX as u64, words, ids, pool, options, life).prop_map(
        |(
            size,
            (access_mode, volume_type, volume_mode, filesystem),
            (uid, gid, mode),
            pool,
            mount_options,
            (preallocate, protection, grace),
        )| {
            // Nothing of a block device is ours to own, to format or to mount.
            let ours = volume_mode == VolumeMode::Filesystem;
            let size = if ours { size } else { size / 4096 * 4096 };
            let filesystem = if ours { filesystem } else { FilesystemChoice::Auto };
            let mount_options = if ours { mount_options } else { Vec::new() };
            let (uid, gid, mode) = if ours { (uid, gid, mode) } else { (None, None, None) };
            crate::VolumeSpec {
                size: Size::from_bytes(size),
                access_mode,
                volume_type,
                volume_mode,
                pool: pool.map(|pool| pool.parse().unwrap()),
                filesystem,
                uid,
                gid,
                mode: mode.and_then(DirectoryMode::from_bits),
                mount_options,
                preallocate,
                protection,
                temp_grace_period: (!volume_type.retains()).then_some(crate::Period::from_seconds(grace)),
                source: None,
                snapshots: None,
            }
        },
    )
}

fn manifest() -> impl Strategy<Value = VolumeManifest> {
    let text = "[^\\p{C}]*([\\n\\t$#:{}\\[\\]&*!|>'\"%@`\\\\ -]|[^\\p{C}])*";
    let texts = (prop::option::of(text), prop::option::of(text), prop::collection::vec("[^\\p{C} ]+", 0..4));
    let layer = prop::sample::select(Layer::ALL.to_vec());
    ("[a-z0-9]([-a-z0-9]{0,46}[a-z0-9])?", texts, layer, spec()).prop_map(
        |(name, (description, owner, tags), layer, volume)| VolumeManifest {
            name: name.parse().unwrap(),
            version: crate::spec::ManifestVersion::V1Beta,
            resource_type: crate::spec::VolumeResourceType::Volume,
            tags,
            description,
            owner,
            layer,
            volume,
        },
    )
}

/// Every fault is inside its text, and can be shown without harm.
fn assert_sound(parsed: &Parsed) {
    for diagnostic in &parsed.diagnostics {
        for label in &diagnostic.labels {
            let Span { start, end } = label.at.span;
            assert!(label.at.source.text().get(start..end).is_some(), "{start}..{end}: {diagnostic:?}");
        }
        let drawn = diagnostic.render(Appearance::PLAIN);
        assert!(drawn.contains(&format!("[{}]", diagnostic.code)), "{drawn}");
        assert!(!drawn.contains(|c: char| c.is_control() && c != '\n'), "{drawn:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_documents_or_faults(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let parsed = read("f", bytes, &Options::default());
        assert_sound(&parsed);
        prop_assert!(parsed.has_errors() || !parsed.documents.is_empty());
    }

    #[test]
    fn any_yaml_like_text_gives_documents_or_faults(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "name", "type", "volume", "size", "1Gi", ": ", ":", "- ", "\n", "\n  ", "\n---\n", "[", "]", "{", "}", ", ",
                "&a ", "*a", "!t ", "|\n", ">-\n", "\"", "'", "#", "? ", "<<", "$A", "${B}", "${{c}}", "\t", "\r", "ä", "🚢",
                "\u{feff}", "~", "...", "%YAML 1.2\n", "version: v1beta\n", "type: volume\n", "\\", "\u{85}", "\u{2028}",
            ]),
            0..40,
        ),
    ) {
        let text: String = pieces.concat();
        for variables in [None, Some(&(|name: &str| (name == "A").then(|| "a".to_owned())) as &Lookup<'_>)] {
            let parsed = read("f", text.clone().into(), &Options { variables, workspace: None });
            assert_sound(&parsed);
            prop_assert!(parsed.has_errors() || !parsed.documents.is_empty());
        }
    }

    #[test]
    fn what_is_written_is_read_again(manifest in manifest()) {
        let text = yaml(&manifest);
        let parsed = read("f", text.clone().into(), &Options { variables: Some(&|_| None), workspace: None });
        match manifest.volume.check() {
            Err(_) => prop_assert!(parsed.has_errors(), "{}", text),
            Ok(()) => match &parsed.documents[..] {
                [Document::Volume { manifest: found, .. }] => prop_assert_eq!(&**found, &manifest),
                _ => prop_assert!(false, "{}\n{}", text, render(&parsed.diagnostics, Appearance::PLAIN)),
            },
        }
    }

    /// A plain scalar's place in the text is exactly the scalar.
    #[test]
    fn places_are_exact(before in "[äa🚢 ]{0,9}", size in "[a-zé]{1,9}") {
        let text = format!("# {before}\nname: a\n{}\n", VOLUME.replace("1Gi", &format!("\"{before}\", uid: {size}")));
        let parsed = read("f", text.into(), &Options::default());
        let fault = parsed.diagnostics.iter().find(|fault| fault.code == "not-a-number").unwrap();
        let Span { start, end } = fault.labels[0].at.span;
        prop_assert_eq!(fault.labels[0].at.source.text().get(start..end), Some(size.as_str()));
    }
}
