//! `docs/alerts.md` and the rules for Prometheus: what the page says is done is done, whoever it says is
//! told is told, and the figures that page and rules speak of are those that `/metrics` prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use orlop_model::ErrorKind;
use orlop_testkit::{OrlopDaemon, Part, command::eventually, require, run, webhook::Receiver};
use serde_json::Value;

use crate::page::Page;

const SOON: Duration = Duration::from_secs(30);
pub(crate) const PAGE: &str = "alerts.md";

fn rules(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus").join(name)
}

/// The page is followed with the configurations that it shows, their receivers exchanged for ours.
#[test]
fn the_page_is_followed_and_whoever_it_says_is_told() {
    require!(Part::Loop);
    let page = Page::read(PAGE);
    let configurations: Vec<String> =
        page.blocks("yaml").into_iter().filter(|block| block.starts_with("notify:")).collect();
    let [ours, theirs] = configurations.as_slice() else { panic!("{configurations:?}") };
    let scratch = orlop_testkit::Scratch::new("alerts");
    let (command, told) = (scratch.join("alert"), scratch.join("told"));
    fs::write(&command, format!("#!/bin/sh\ncat >> {0}\necho >> {0}\n", told.display())).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    let (webhook, service) = (Receiver::new(&[]), Receiver::new(&[]));
    let exchanged = |text: &str, what: &str, with: &str| {
        assert_eq!(text.matches(what).count(), 1, "{what}: {text}");
        text.replace(what, with)
    };
    let ours = exchanged(ours, "http://127.0.0.1:9093/orlop", &webhook.url());
    let ours = exchanged(&ours, "/usr/local/bin/orlop-alert", command.to_str().unwrap());
    let theirs = exchanged(theirs, "https://hooks.example.com/services/T000/B000", &service.url());
    let theirs = theirs.strip_prefix("notify:\n").unwrap();
    let daemon = OrlopDaemon::builder().config(format!("observeEvery: 1s\n{ours}{theirs}")).start();

    page.follow(&daemon);

    let heard = |receiver: &Receiver| -> Vec<String> {
        receiver.reasons().into_iter().map(|(_, reason)| reason).collect()
    };
    for receiver in [&webhook, &service] {
        assert!(eventually(SOON, || heard(receiver).iter().any(|reason| reason == "Above95Percent")));
        assert!(!heard(receiver).iter().any(|reason| reason == "Below80Percent"), "that is no warning");
    }
    let event = webhook.heard().into_iter().find(|(_, event)| event["reason"] == "Above95Percent").unwrap().1;
    let shown: Vec<Value> = daemon
        .cli(["events", "-n", "data", "-o", "json"])
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut as_shown = event.clone();
    as_shown.as_object_mut().unwrap().remove("node").expect("the node is told");
    assert!(shown.contains(&as_shown), "{as_shown}: {shown:?}");
    // The command is told of errors alone.
    assert!(eventually(SOON, || fs::read_to_string(&told).unwrap_or_default().ends_with('\n')));
    let lines = fs::read_to_string(&told).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The disk of this machine may be full too.
    let of_it: Vec<&Value> = lines.iter().filter(|told| told["volume"] == "data").collect();
    assert_eq!(of_it, [&event]);
    for (to, count) in [("webhook", webhook.heard().len()), ("command", lines.len() + service.heard().len())]
    {
        let line = format!("orlop_notifications_total{{to=\"{to}\",outcome=\"sent\"}} {count}");
        // Counted when they have answered.
        let counted = || daemon.get("/metrics").1.lines().any(|known| known == line);
        assert!(eventually(SOON, counted), "{line}: {}", daemon.get("/metrics").1);
    }
    daemon.cli(["unmount", daemon.scratch().join("here").to_str().unwrap()]).ok();
}

/// What `/metrics` prints: each name with the labels of its samples.
fn printed(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut printed = BTreeMap::<_, BTreeSet<_>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = match line.split_once('{') {
            Some((name, rest)) => (name, rest.rsplit_once('}').unwrap().0),
            None => (line.split_once(' ').unwrap().0, ""),
        };
        printed.entry(name.to_owned()).or_default().extend(label_names(labels));
    }
    printed
}

/// The names in `a="b",c="d"`; no value of ours has a comma or an equals sign.
fn label_names(labels: &str) -> Vec<String> {
    labels
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

/// As one of a page: a histogram has one name there.
fn family(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("orlop_")).map(str::to_owned).collect()
}

/// A daemon that has done a little of everything that is counted.
fn busy() -> OrlopDaemon {
    let receiver = Receiver::new(&[]);
    let config = format!("notify: [{{webhook: \"{}\", severity: info}}]\n", receiver.url());
    let daemon = OrlopDaemon::builder().config(config).start();
    daemon
        .apply("name: data\nversion: v1beta\ntype: volume\nvolume: {size: 16Mi, accessMode: ReadWriteMany, type: temp}\n")
        .ok();
    let here = daemon.scratch().join("here");
    fs::create_dir(&here).unwrap();
    daemon.cli(["mount", "-n", "data", here.to_str().unwrap()]).ok();
    assert!(!daemon.cli(["get", "-t", "volume", "-n", "none"]).status.success());
    assert!(eventually(SOON, || !receiver.heard().is_empty()));
    daemon
}

#[test]
fn the_page_and_the_rules_speak_of_the_figures_that_are_printed() {
    require!(Part::Loop);
    let daemon = busy();
    let sent = || daemon.get("/metrics").1.contains("orlop_notifications_total{");
    assert!(eventually(SOON, sent));
    let text = daemon.get("/metrics").1;
    let printed = printed(&text);

    let page = Page::read(PAGE);
    let documented: BTreeSet<String> =
        page.text.lines().filter(|line| line.starts_with("| `orlop_")).flat_map(names_in).collect();
    let families: BTreeSet<String> = printed.keys().map(|name| family(name).to_owned()).collect();
    assert_eq!(documented, families, "what the table of the page has, and what /metrics prints");

    let (alerts, tests) = (
        fs::read_to_string(rules("orlop.rules.yml")).unwrap(),
        fs::read_to_string(rules("orlop.rules.test.yml")).unwrap(),
    );
    for name in names_in(&alerts) {
        assert!(printed.contains_key(&name), "a rule asks for {name}: {text}");
    }
    // The series of the tests are like the real ones, beside what Prometheus adds to each.
    let mut series = 0;
    for line in tests.lines().filter_map(|line| line.split_once("series: 'orlop_")) {
        let (name, labels) = line.1.split_once('}').unwrap().0.split_once('{').unwrap();
        let name = format!("orlop_{name}");
        let real = printed.get(&name).unwrap_or_else(|| panic!("{name}: {text}"));
        let added = ["instance".to_owned(), "job".to_owned()];
        let labels = label_names(labels).into_iter().filter(|label| !added.contains(label)).collect();
        assert_eq!(real, &labels, "{name}");
        series += 1;
    }
    assert!(series > 15, "{series}");
    // The outcomes that a rule counts are kinds of errors.
    let outcomes = alerts.split_once("outcome=~\"").unwrap().1.split_once('"').unwrap().0;
    let kinds: Vec<String> = ErrorKind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
    assert!(outcomes.split('|').all(|outcome| kinds.iter().any(|kind| kind == outcome)), "{outcomes}");
    // And each alert is told of in the page, and has a test.
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(page.text.contains(&format!("| `{name}` |")), "{name} is not in the page");
        assert!(tests.contains(&format!("alertname: {name}\n        exp_alerts:")), "{name} is never fired");
        assert!(tests.contains(&format!("alertname: {name}}}")), "{name} is never seen to be silent");
    }
    daemon.cli(["unmount", daemon.scratch().join("here").to_str().unwrap()]).ok();
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    require!(Part::Promtool);
    let promtool = || Command::new(orlop_testkit::skip::program("promtool").unwrap());
    run(promtool().args(["check", "rules"]).arg(rules("orlop.rules.yml"))).ok();
    run(promtool().args(["test", "rules"]).arg(rules("orlop.rules.test.yml"))).ok();
    // The configuration that the page shows.
    let scratch = orlop_testkit::Scratch::new("promtool");
    let page = Page::read(PAGE);
    let config = page.blocks("yaml").into_iter().find(|block| block.starts_with("scrape_configs:")).unwrap();
    fs::write(scratch.join("prometheus.yml"), config).unwrap();
    fs::copy(rules("orlop.rules.yml"), scratch.join("orlop.rules.yml")).unwrap();
    run(promtool().args(["check", "config"]).arg(scratch.join("prometheus.yml"))).ok();
}

/// And what `/metrics` prints is what Prometheus reads.
#[test]
fn prometheus_reads_what_is_printed() {
    require!(Part::Loop, Part::Promtool);
    let daemon = busy();
    let metrics = daemon.scratch().join("metrics");
    fs::write(&metrics, daemon.get("/metrics").1).unwrap();
    let promtool = orlop_testkit::skip::program("promtool").unwrap();
    let checked =
        run(Command::new("sh").args(["-c", "\"$0\" check metrics < \"$1\""]).arg(promtool).arg(metrics));
    // It reads the older format, in which the help of a counter is under its whole name.
    let older = |line: &str| line.is_empty() || line.ends_with("_total no help text");
    assert!(checked.stderr.lines().all(older) && checked.stdout.is_empty(), "{checked:?}");
    daemon.cli(["unmount", daemon.scratch().join("here").to_str().unwrap()]).ok();
}
