//! What a user at a prompt is told by a real daemon of names that are not there, of figures that make no
//! sense, and of what is not as usual.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

use orlop_testkit::{OrlopDaemon, Part, command::eventually, process, require};

/// A volume of the type `temp` with these further fields.
fn volume(name: &str, size: &str, more: &str) -> String {
    format!(
        "name: {name}\nversion: v1beta\ntype: volume\nvolume: {{size: {size}, accessMode: ReadWriteMany, type: temp{more}}}\n"
    )
}

fn apply(daemon: &OrlopDaemon, text: &str) -> orlop_testkit::command::Ran {
    let file = daemon.scratch().join("volume.yaml");
    fs::write(&file, text).unwrap();
    daemon.cli(["apply", "--no-register", "-f", &file.display().to_string()])
}

fn typed(daemon: &OrlopDaemon, line: &str) -> orlop_testkit::command::Ran {
    daemon.cli(line.split(' '))
}

#[test]
fn a_name_of_which_nothing_is_known_is_no_empty_list() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    apply(&daemon, &volume("data", "16Mi", "")).ok();
    for (line, says) in [
        ("snapshot list --volume nope", "there is no volume public/nope"),
        ("snapshot list --volume dota", "did you mean data? orlop get"),
        ("snapshot list --volume nope -a", "there is no volume nope in any workspace"),
        ("snapshot list --volume nope -o json", "there is no volume public/nope"),
        ("events -n nope", "there is no volume public/nope"),
        ("events -n dato", "did you mean data? orlop get"),
        ("events -n nope -f", "there is no volume public/nope"),
        ("events -n data -w tema", "there is no volume tema/data"),
        ("events -w publik", "did you mean public?"),
        ("events --pool defalt", "did you mean default?"),
        ("events -n nope --severity error", "there is no volume public/nope"),
        ("log -t volume -n nope", "there is no volume public/nope"),
        ("log -t pool -n nope", "there is no pool nope"),
        ("log -t workspace -n nope", "there is no workspace nope"),
        ("get -n dat", "did you mean data?"),
        ("pool show defalt", "did you mean default?"),
        ("workspace get publc", "did you mean public?"),
    ] {
        let said = typed(&daemon, line).exits(4);
        assert!(said.contains(says) && said.contains("hint:"), "{line}: {said}");
    }
    // It is there, and nothing of it was asked for that happened.
    assert!(
        typed(&daemon, "events -n data --severity error").exits(0).contains("nothing that matters so much")
    );
    assert!(
        typed(&daemon, "snapshot list --volume data").exits(0).contains("no snapshots of volume data in")
    );
    typed(&daemon, "snapshot create -n monday --volume data").ok();
    assert!(typed(&daemon, "snapshot show -n munday").exits(4).contains("did you mean monday?"));
    // What was deleted has its events still, and its snapshots.
    typed(&daemon, "delete -n data --no-register").ok();
    assert!(typed(&daemon, "events -n data").ok().contains("data are gone"));
    assert!(typed(&daemon, "events -n data --severity error").exits(0).contains("nothing that matters"));
    assert!(typed(&daemon, "snapshot list --volume data").ok().contains("monday"));
    typed(&daemon, "snapshot delete -n monday").ok();
    assert!(
        typed(&daemon, "snapshot list --volume data").exits(4).contains("there is no volume public/data")
    );
}

#[test]
fn figures_that_make_no_pool_are_refused() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let path = daemon.scratch().join("pool").display().to_string();
    let create = |more: [&str; 2]| daemon.cli(["pool", "create", "small", "--path", &path, more[0], more[1]]);
    let said = create(["--capacity", "0"]).exits(2);
    assert!(
        said.contains("a pool with a capacity of 0 can hold nothing") && said.contains("hint:"),
        "{said}"
    );
    for factor in ["1e308", "1000.5", "0.5", "inf", "NaN"] {
        let said = create(["--overcommit", factor]).exits(2);
        assert!(said.contains("it is a factor from 1.0, ") && said.contains(" to 1000"), "{said}");
        assert!(said.lines().all(|line| line.len() < 200), "{said}");
    }
    assert!(!daemon.scratch().join("pool").exists(), "nothing was made");
    create(["--capacity", "100Mi"]).ok();
    create(["--capacity", "0"]).exits(2);
    assert!(typed(&daemon, "pool show small").ok().contains("100Mi"), "as it was");
}

#[test]
fn a_volume_that_cannot_grow_so_far_says_how_far() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let path = daemon.scratch().join("pool").display().to_string();
    daemon.cli(["pool", "create", "small", "--path", &path, "--capacity", "400Mi"]).ok();
    let of_size = |size: &str| volume("data", size, ", filesystem: xfs, pool: small");
    apply(&daemon, &of_size("300Mi")).ok();
    let said = apply(&daemon, &of_size("1Ti")).exits(6);
    for words in [
        "growing from 300Mi to 1Ti takes 1023.7Gi more, which does not fit in pool small",
        "of 400Mi it may promise, 300Mi are promised and 100Mi are left",
        "let it grow by at most 100Mi",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("1048276Mi"), "{said}");
    apply(&daemon, &of_size("400Mi")).ok();

    // So far an ext4 grows only as a copy.
    typed(&daemon, "delete -n data --no-register").ok();
    apply(&daemon, &volume("small", "24Mi", ", filesystem: ext4, pool: small")).ok();
    let said = apply(&daemon, &volume("small", "1Ti", ", filesystem: ext4, pool: small")).exits(6);
    for words in ["in a copy", "from 24Mi to 1Ti takes 1023.9Gi more", "376Mi are left"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_pool_that_is_away_is_shown_with_what_is_known() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let path = daemon.scratch().join("pool");
    daemon
        .cli(["pool", "create", "small", "--path", &path.display().to_string(), "--capacity", "100Mi"])
        .ok();
    apply(&daemon, &volume("data", "24Mi", ", pool: small")).ok();
    fs::rename(&path, daemon.scratch().join("away")).unwrap();
    let shown = typed(&daemon, "pool show small").ok();
    for words in [
        "missing: ",
        "100Mi, overcommit 1",
        "24Mi by 1 volume",
        "nothing, until it is there again",
        "not known, until it is there again",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("unknown") && !shown.contains("0 free"), "{shown}");
    let wide = typed(&daemon, "pool list -o wide").ok();
    let row = wide.lines().find(|line| line.contains("small")).unwrap();
    assert!(!row.contains("unknown") && row.contains(" - "), "{wide}");
    fs::rename(daemon.scratch().join("away"), &path).unwrap();
    assert!(typed(&daemon, "pool show small").ok().contains(" are kept free"));
}

#[test]
fn the_schedule_of_a_volume_is_shown() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    let policy = ", snapshots: {schedule: \"* * * * *\", keep: {last: 3, daily: 7, weekly: 1}}";
    apply(&daemon, &volume("data", "16Mi", policy)).ok();
    apply(&daemon, &volume("plain", "16Mi", "")).ok();
    for line in ["get -n data -d", "volume show -n data", "get -d"] {
        let shown = typed(&daemon, line).ok();
        for words in [
            "by the schedule * * * * *, in UTC\n",
            "kept: the last 3; the newest of each of the last 7 days; the newest of the last week\n",
            "next: 20",
            "(in ",
        ] {
            assert!(shown.contains(words), "{line}: {words}: {shown}");
        }
        assert_eq!(shown.matches("by the schedule").count(), 1, "{line}: {shown}");
    }
    // A snapshot by hand is none of the schedule's.
    typed(&daemon, "snapshot create -n mine --volume data").ok();
    let shown = typed(&daemon, "volume show -n data").ok();
    assert!(shown.contains("last: none yet\n") || shown.contains("last: data-"), "{shown}");
    // The next minute comes, and with it the first.
    assert!(eventually(Duration::from_secs(100), || {
        typed(&daemon, "volume show -n data").ok().contains("last: data-")
    }));
    assert!(typed(&daemon, "get -n data -d").ok().contains("s ago)\n"));
}

#[test]
fn following_begins_with_the_last_few() {
    require!(Part::Loop);
    let daemon = OrlopDaemon::start();
    for _ in 0..4 {
        apply(&daemon, &volume("data", "16Mi", "")).ok();
        typed(&daemon, "delete -n data --no-register").ok();
        apply(&daemon, &volume("other", "16Mi", "")).ok();
        typed(&daemon, "delete -n other --no-register").ok();
    }
    assert!(typed(&daemon, "events").ok().lines().count() > 15);
    // How many there were when the next one came.
    let before = |line: &str, name: &str| {
        let mut child = daemon.client(line.split(' ')).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Whatever was there is asked for before what comes is watched.
        std::thread::sleep(Duration::from_millis(500));
        apply(&daemon, &volume(name, "16Mi", "")).ok();
        let count = lines.by_ref().map(Result::unwrap).take_while(|line| !line.contains(name)).count();
        process::signal(i32::try_from(child.id()).unwrap(), rustix::process::Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        count
    };
    assert_eq!(before("events -f", "first"), 10);
    assert_eq!(before("events -f --tail 0", "second"), 0);
    assert_eq!(before("log -t volume -f --tail 3", "third"), 3);

    assert!(typed(&daemon, "events --since 1h").ok().lines().count() > 15);
    assert_eq!(typed(&daemon, "events --since 1h --tail 2").ok().lines().count(), 2);
    let said = typed(&daemon, "events --since 2126-01-01T00:00:00Z").exits(0);
    assert_eq!(said, "nothing has happened since then, or nothing that is still kept\n");
    for wrong in ["yesterday", "never", "2h30"] {
        assert!(
            typed(&daemon, &format!("events --since {wrong}")).exits(2).contains("how long ago, such as 90s")
        );
    }
}
