//! Pages of volumes: complete, in order, filtered, and not disturbed by what happens in between.

use orlop_model::ErrorKind;

use super::*;
use crate::request::{Page, VolumeQuery};

fn page(f: &Fixture, query: &VolumeQuery) -> Page<VolumeRow> {
    f.store.read(|r| volumes::page(r, query)).unwrap()
}

fn names(page: &Page<VolumeRow>) -> Vec<String> {
    page.items.iter().map(VolumeRow::title).collect()
}

/// Seven live volumes in two workspaces and two pools, and a released one.
fn filled() -> Fixture {
    let f = Fixture::new();
    let fast = pool("fast", Size::from_bytes(1 << 40));
    let rows: Vec<VolumeRow> = [
        volume(&f.pool, "team", "b"),
        volume(&f.pool, "public", "c"),
        volume(&fast, "public", "a"),
        volume(&f.pool, "public", "a-b"),
        VolumeRow { owner_uid: 7, ..volume(&f.pool, "team", "a") },
        VolumeRow { state: VolumeState::Active, ..volume(&f.pool, "public", "d") },
        volume(&f.pool, "public", "ab"),
        VolumeRow {
            state: VolumeState::Released,
            released_at: Some(Timestamp::now()),
            ..volume(&f.pool, "public", "c")
        },
    ]
    .into();
    f.store
        .write(move |tx| {
            workspaces::insert(tx, &workspace("team"))?;
            pools::insert(tx, &fast)?;
            rows.iter().try_for_each(|row| volumes::insert(tx, row))
        })
        .unwrap();
    f
}

#[test]
fn pages_are_complete_and_in_order() {
    let f = filled();
    let all = ["public/a", "public/a-b", "public/ab", "public/c", "public/d", "team/a", "team/b"];
    for limit in 1..=8 {
        let mut query = VolumeQuery { limit, ..VolumeQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = page(&f, &query);
            assert!(page.items.len() <= limit);
            seen.extend(names(&page));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all, "in pages of {limit}");
    }
    assert_eq!(names(&page(&f, &VolumeQuery::default())), all, "0 means the cap");
}

#[test]
fn a_token_stays_valid_under_change() {
    let f = filled();
    let first = page(&f, &VolumeQuery { limit: 2, ..VolumeQuery::default() });
    let last = first.items.last().unwrap().id;
    f.stored("a-a");
    f.stored("b");
    f.store.write(move |tx| volumes::delete(tx, last)).unwrap();
    let rest = page(&f, &VolumeQuery { after: first.next, ..VolumeQuery::default() });
    assert_eq!(names(&rest), ["public/ab", "public/b", "public/c", "public/d", "team/a", "team/b"]);
}

#[test]
fn filters() {
    let f = filled();
    let of = |query: VolumeQuery| names(&page(&f, &query));
    let any = VolumeQuery::default;
    assert_eq!(of(VolumeQuery { workspace: Some("team".parse().unwrap()), ..any() }), ["team/a", "team/b"]);
    assert_eq!(of(VolumeQuery { name: Some("a".parse().unwrap()), ..any() }), ["public/a", "team/a"]);
    assert_eq!(of(VolumeQuery { owner_uid: Some(7), ..any() }), ["team/a"]);
    assert_eq!(of(VolumeQuery { state: Some(VolumeState::Active), ..any() }), ["public/d"]);
    assert_eq!(of(VolumeQuery { pool: Some("fast".parse().unwrap()), ..any() }), ["public/a"]);
    assert_eq!(of(VolumeQuery { pool: Some("none".parse().unwrap()), ..any() }), [""; 0]);
    assert_eq!(of(VolumeQuery { tags: vec!["app:a".to_owned()], ..any() }), ["public/a", "team/a"]);
    assert_eq!(of(VolumeQuery { tags: vec!["all".to_owned(), "app:c".to_owned()], ..any() }), ["public/c"]);
    assert_eq!(of(VolumeQuery { tags: vec!["' OR 1=1 --".to_owned()], ..any() }), [""; 0]);
    assert_eq!(of(VolumeQuery { released: true, ..any() }), ["public/c"]);
    assert_eq!(of(VolumeQuery { state: Some(VolumeState::Released), ..any() }), ["public/c"]);
    assert_eq!(of(VolumeQuery { released: true, owner_uid: Some(7), ..any() }), [""; 0]);
}

#[test]
fn a_tag_is_compared_whole_whatever_is_in_it() {
    let f = Fixture::new();
    let odd = ["quo\"te", "back\\slash", "tab\t\u{1}", "ünï/cödé", "%", ""];
    for (n, tag) in odd.iter().enumerate() {
        let mut row = f.volume(&format!("v{n}"));
        row.manifest.tags = vec![(*tag).to_owned(), format!("{tag}-longer")];
        row.manifest.description = Some("only-here".to_owned());
        f.insert(&row);
    }
    for (n, tag) in odd.iter().enumerate() {
        let query = VolumeQuery { tags: vec![(*tag).to_owned()], ..VolumeQuery::default() };
        assert_eq!(names(&page(&f, &query)), [format!("public/v{n}")], "{tag:?}");
    }
    let query = VolumeQuery { tags: vec!["only-here".to_owned()], ..VolumeQuery::default() };
    assert_eq!(names(&page(&f, &query)), [""; 0]);
}

#[test]
fn a_foreign_token_is_refused() {
    let f = Fixture::new();
    for token in ["", "x", "public.a", "public.a.b", "PUBLIC.a.0196d5a0-0000-7000-8000-000000000000"] {
        let query = VolumeQuery { after: Some(token.to_owned()), ..VolumeQuery::default() };
        let refusal = f.store.read(|r| volumes::page(r, &query)).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidArgument, "{token}");
    }
}

/// A sort, or a scan of a table, would make a page of 10,000 volumes cost as much as all of them.
#[test]
fn a_page_is_read_in_the_order_of_an_index() {
    let f = filled();
    let token = page(&f, &VolumeQuery { limit: 1, ..VolumeQuery::default() }).next;
    for query in [
        VolumeQuery::default(),
        VolumeQuery { after: token.clone(), ..VolumeQuery::default() },
        VolumeQuery { released: true, after: token.clone(), ..VolumeQuery::default() },
        VolumeQuery { workspace: Some("team".parse().unwrap()), after: token, ..VolumeQuery::default() },
        VolumeQuery { pool: Some("fast".parse().unwrap()), ..VolumeQuery::default() },
        VolumeQuery {
            state: Some(VolumeState::Active),
            tags: vec!["x".to_owned()],
            ..VolumeQuery::default()
        },
    ] {
        let plan = f.store.read(|r| volumes::plan_of_page(r, &query)).unwrap();
        let first = plan.first().unwrap();
        assert!(first.contains("v USING INDEX volumes_"), "{query:?}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{query:?}: {plan:#?}");
        for table in ["p", "o"] {
            assert!(
                !plan.iter().any(|step| step.starts_with(&format!("SCAN {table}"))),
                "{query:?}: {plan:#?}"
            );
        }
    }
}

/// The limits of a workspace are asked in every write that adds to it.
#[test]
fn what_a_workspace_holds_is_read_without_reading_the_others() {
    let f = filled();
    let plan = f.store.read(workspaces::plan_of_content).unwrap();
    assert!(plan.iter().any(|step| step.contains("volumes_live")), "{plan:#?}");
    assert!(plan.iter().all(|step| !step.starts_with("SCAN") && !step.contains("TEMP B-TREE")), "{plan:#?}");
}
