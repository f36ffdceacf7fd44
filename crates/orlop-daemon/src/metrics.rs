//! The numbers of `/metrics`: what requests came to, and what the engine and the process say when asked.

use std::{fs, time::Duration};

use orlop_api::Operation;
use orlop_engine::{Caller, Engine, Latency, Statistics};
use orlop_model::{
    Error, ErrorKind, Result, VolumeUsage,
    resource::{Front, Pool},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use crate::service::Phase;

/// Upper bounds of the latency histogram, in seconds: from an answer out of the store to a
/// filesystem check.
const BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

type ByOperation = [(&'static str, &'static str); 1];
type ByOperationAndKind = [(&'static str, String); 2];

/// What is counted while it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<ByOperation, Counter>,
    errors: Family<ByOperationAndKind, Counter>,
    seconds: Family<ByOperation, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
        }
    }
}

impl Metrics {
    /// Notes an answer.
    pub(crate) fn observe(&self, operation: Operation, refused: Option<ErrorKind>, took: Duration) {
        let label = [("operation", operation.id())];
        self.requests.get_or_create(&label).inc();
        self.seconds.get_or_create(&label).observe(took.as_secs_f64());
        if let Some(kind) = refused {
            let labels = [("operation", operation.id().to_owned()), ("kind", format!("{kind:?}"))];
            self.errors.get_or_create(&labels).inc();
        }
    }

    /// Everything, in the text format. Asks the engine; blocks.
    pub(crate) fn render(&self, engine: &Engine, phase: Phase) -> Result<String> {
        let mut registry = Registry::with_prefix("orlop");
        registry.register("requests", "Answered REST requests", self.requests.clone());
        registry.register("request_errors", "REST requests answered with an error", self.errors.clone());
        registry.register_with_unit(
            "request_duration",
            "How long REST requests took",
            Unit::Seconds,
            self.seconds.clone(),
        );
        // Before recovery the engine's numbers are not there yet: they are left out, not zero.
        let snapshot = match phase {
            Phase::Starting => None,
            Phase::Running | Phase::Stopping => {
                let root = Caller { uid: 0, front: Front::Manifest };
                Some((engine.statistics(), engine.pools(&root)?))
            }
        };
        let ready = phase == Phase::Running && engine.readiness().is_ready();
        registry.register_collector(Box::new(Snapshot { ready, engine: snapshot, process: Process::now() }));
        let mut text = String::new();
        encode(&mut text, &registry)
            .map_err(|fault| Error::new(ErrorKind::Host, format!("the metrics can't be written: {fault}")))?;
        Ok(text)
    }
}

/// What is asked for at each scrape.
#[derive(Debug)]
struct Snapshot {
    ready: bool,
    engine: Option<(Statistics, Vec<Pool>)>,
    process: Process,
}

/// Labels and value of one sample.
type Sample<'a> = (Vec<(&'a str, &'a str)>, f64);

impl prometheus_client::collector::Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let one = |value: f64| vec![(Vec::new(), value)];
        gauge(&mut encoder, "ready", "Whether volumes can be used", one(f64::from(u8::from(self.ready))))?;
        gauge(
            &mut encoder,
            "process_resident_memory_bytes",
            "Memory of the daemon",
            one(as_float(self.process.resident_bytes)),
        )?;
        gauge(
            &mut encoder,
            "process_open_fds",
            "Open file descriptors of the daemon",
            one(as_float(self.process.open_descriptors)),
        )?;
        let Some((statistics, pools)) = &self.engine else { return Ok(()) };
        let volumes = statistics.volumes.iter();
        gauge(
            &mut encoder,
            "volumes",
            "Volumes by state",
            volumes.map(|(state, count)| (vec![("state", state.as_str())], as_float(*count))).collect(),
        )?;
        gauge(&mut encoder, "attachments", "Uses of volumes", one(as_float(statistics.attachments)))?;
        let operations = statistics.operations.iter();
        counter(
            &mut encoder,
            "operations",
            "What the engine did, by outcome: ok or the kind of the error",
            operations
                .map(|(name, outcome, count)| {
                    (vec![("operation", name.as_str()), ("outcome", outcome.as_str())], *count)
                })
                .collect(),
        )?;
        let notifications = statistics.notifications.iter();
        counter(
            &mut encoder,
            "notifications",
            "Attempts to tell somebody of an event",
            notifications
                .map(|(kind, outcome, count)| (vec![("to", *kind), ("outcome", *outcome)], *count))
                .collect(),
        )?;
        histogram(
            &mut encoder,
            "operation_duration",
            "How long operations of the engine took, waiting for others included",
            &statistics.latencies,
        )?;
        for (name, help, value) in USAGE_GAUGES {
            let samples = statistics.usage.iter().filter_map(|(key, pool, usage)| {
                let labels = vec![
                    ("workspace", key.workspace.as_str()),
                    ("volume", key.name.as_str()),
                    ("pool", pool.as_str()),
                ];
                Some((labels, as_float(value(usage)?)))
            });
            gauge(&mut encoder, name, help, samples.collect())?;
        }
        counter(
            &mut encoder,
            "volumes_created",
            "Volumes made, by where their filesystem came from",
            vec![
                (vec![("from", "blank")], statistics.created_from_blank),
                (vec![("from", "scratch")], statistics.created_from_scratch),
            ],
        )?;
        for (name, help, value) in POOL_GAUGES {
            let samples = pools.iter().map(|pool| (vec![("pool", pool.name.as_str())], value(pool)));
            gauge(&mut encoder, name, help, samples.collect())?;
        }
        Ok(())
    }
}

type PoolGauge = (&'static str, &'static str, fn(&Pool) -> f64);

const POOL_GAUGES: [PoolGauge; 7] = [
    ("pool_capacity_bytes", "What the pool was given", |pool| as_float(pool.capacity.bytes())),
    ("pool_reserved_bytes", "What is promised of the pool", |pool| as_float(pool.reserved.bytes())),
    ("pool_available_bytes", "What may still be promised of the pool", |pool| {
        as_float(pool.available.bytes())
    }),
    ("pool_allocated_bytes", "What the pool's images take of the host", |pool| {
        as_float(pool.allocated.bytes())
    }),
    ("pool_host_free_bytes", "What is free in the host's filesystem under the pool", |pool| {
        as_float(pool.host_free.bytes())
    }),
    ("pool_low_water_bytes", "What admission leaves free in it", |pool| as_float(pool.low_water.bytes())),
    ("pool_volumes", "Volumes in the pool, released ones included", |pool| as_float(pool.volumes)),
];

type UsageGauge = (&'static str, &'static str, fn(&VolumeUsage) -> Option<u64>);

/// Of volumes in use, as the kubelet names them; a filesystem that does not count something has no sample.
const USAGE_GAUGES: [UsageGauge; 10] = [
    ("volume_stats_capacity_bytes", "What the volume can hold", |usage| Some(usage.capacity_bytes)),
    ("volume_stats_used_bytes", "What is used in the volume", |usage| Some(usage.used_bytes)),
    ("volume_stats_available_bytes", "What can still be written to the volume", |usage| {
        Some(usage.available_bytes)
    }),
    ("volume_stats_inodes", "How many files and directories the volume can hold", |usage| Some(usage.inodes)),
    ("volume_stats_inodes_used", "How many files and directories are in the volume", |usage| {
        Some(usage.inodes_used)
    }),
    ("volume_stats_inodes_free", "How many files and directories can still be made", |usage| {
        Some(usage.inodes_free())
    }),
    ("volume_stats_health_status_abnormal", "Whether the filesystem needs a check", |usage| {
        Some(u64::from(usage.is_abnormal()))
    }),
    ("volume_stats_read_only", "Whether the filesystem met an error and takes no more writes", |usage| {
        Some(u64::from(usage.stopped))
    }),
    (
        "volume_stats_filesystem_errors",
        "Errors in the filesystem's metadata since it was last checked; ext4 only",
        |usage| usage.filesystem_errors,
    ),
    (
        "volume_stats_filesystem_warnings",
        "The filesystem's warnings since it was mounted, each failed write of data among them; ext4 only",
        |usage| usage.filesystem_warnings,
    ),
];

/// Exact up to 2^53, as every number of Prometheus.
#[allow(clippy::cast_precision_loss)]
fn as_float(number: u64) -> f64 {
    number as f64
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: Vec<Sample<'_>>,
) -> std::fmt::Result {
    let kind = ConstGauge::new(0.0_f64).metric_type();
    let samples = samples.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
    encode_all(encoder.encode_descriptor(name, help, None, kind)?, samples)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: Vec<(Vec<(&str, &str)>, u64)>,
) -> std::fmt::Result {
    let kind = ConstCounter::new(0_u64).metric_type();
    let samples = samples.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
    encode_all(encoder.encode_descriptor(name, help, None, kind)?, samples)
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    latencies: &[(String, Latency)],
) -> std::fmt::Result {
    let kind = Histogram::new([]).metric_type();
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
    for (operation, latency) in latencies {
        let bounds = Latency::BOUNDS.iter().map(Duration::as_secs_f64);
        let beyond = latency.count - latency.buckets.iter().sum::<u64>();
        let mut buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
        buckets.push((f64::INFINITY, beyond));
        family
            .encode_family(&[("operation", operation.as_str())].as_slice())?
            .encode_histogram::<NoLabelSet>(latency.sum.as_secs_f64(), latency.count, &buckets, None)?;
    }
    Ok(())
}

fn encode_all<'a>(
    mut family: MetricEncoder<'_>,
    samples: impl Iterator<Item = (Vec<(&'a str, &'a str)>, impl EncodeMetric)>,
) -> std::fmt::Result {
    for (labels, metric) in samples {
        if labels.is_empty() {
            return metric.encode(family);
        }
        metric.encode(family.encode_family(&labels.as_slice())?)?;
    }
    Ok(())
}

/// What the kernel says about this process.
#[derive(Debug, Default)]
struct Process {
    resident_bytes: u64,
    open_descriptors: u64,
}

impl Process {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes: Option<u64> =
            resident.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse().ok());
        Self {
            resident_bytes: kibibytes.unwrap_or(0) << 10,
            open_descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use orlop_engine::{ApplyRequest, MountAccess, MountRequest, VolumeKey, VolumeRef};
    use orlop_model::WorkspaceName;
    use orlop_testkit::{Part, require};

    use super::*;

    #[test]
    fn numbers_come_out_under_their_names() {
        let metrics = Metrics::default();
        metrics.observe(Operation::GetVolume, None, Duration::from_millis(3));
        metrics.observe(Operation::GetVolume, Some(ErrorKind::NotFound), Duration::from_millis(3));
        require!(Part::Root);
        let (_scratch, engine) = crate::rest::tests::engine();
        let text = metrics.render(&engine, Phase::Starting).unwrap();
        for line in [
            "orlop_requests_total{operation=\"getVolume\"} 2",
            "orlop_request_errors_total{operation=\"getVolume\",kind=\"NotFound\"} 1",
            "orlop_request_duration_seconds_count{operation=\"getVolume\"} 2",
            "orlop_ready 0.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|known| known.starts_with(line)), "{line}\n{text}");
        }
        let resident =
            text.lines().find_map(|line| line.strip_prefix("orlop_process_resident_memory_bytes "));
        assert!(resident.unwrap().parse::<f64>().unwrap() > 1e5, "{text}");
    }

    #[test]
    fn a_volume_in_use_has_figures_and_operations_their_times() {
        require!(Part::Loop);
        let (scratch, engine) = crate::rest::tests::engine();
        engine.recover().unwrap();
        let root = Caller { uid: 0, front: Front::Host };
        let manifest = serde_json::json!({ "name": "data", "version": "v1beta", "type": "volume",
            "volume": { "size": "16Mi", "accessMode": "ReadWriteMany", "type": "temp" } });
        let workspace: WorkspaceName = "public".parse().unwrap();
        let request = ApplyRequest {
            workspace: workspace.clone(),
            manifest: serde_json::from_value(manifest).unwrap(),
            create_workspace: false,
            set: None,
        };
        engine.apply(&root, &request).unwrap();
        let text = || Metrics::default().render(&engine, Phase::Running).unwrap();
        let idle = text();
        assert!(!idle.contains("orlop_volume_stats_used_bytes{"), "nobody uses it: {idle}");
        let target = scratch.mkdir("target");
        let key = VolumeKey { workspace, name: "data".parse().unwrap() };
        let request =
            MountRequest { volume: VolumeRef::Key(key), target: target.clone(), access: MountAccess::ByMode };
        engine.mount(&root, &request).unwrap();
        std::fs::write(target.join("file"), vec![1; 1 << 20]).unwrap();
        std::fs::File::open(target.join("file")).unwrap().sync_all().unwrap();
        let text = text();
        let value = |name: &str| -> f64 {
            let labels = "{workspace=\"public\",volume=\"data\",pool=\"default\"} ";
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(labels));
            line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
        };
        let df = df_of(&target);
        assert_eq!(value("orlop_volume_stats_capacity_bytes"), df.0);
        assert_eq!(value("orlop_volume_stats_available_bytes"), df.1);
        assert!(value("orlop_volume_stats_used_bytes") >= f64::from(1 << 20));
        let inodes = value("orlop_volume_stats_inodes");
        assert_eq!(value("orlop_volume_stats_inodes_used") + value("orlop_volume_stats_inodes_free"), inodes);
        for well in ["health_status_abnormal", "read_only", "filesystem_errors", "filesystem_warnings"] {
            assert_eq!(value(&format!("orlop_volume_stats_{well}")), 0.0, "{well}");
        }
        for line in [
            "orlop_operation_duration_seconds_count{operation=\"mount\"} 1",
            "orlop_operation_duration_seconds_bucket{le=\"+Inf\",operation=\"mount\"} 1",
            "orlop_operations_total{operation=\"apply\",outcome=\"ok\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        engine.unmount(&root, &target).unwrap();
        engine.shutdown();
    }

    /// What `df` says: size and room.
    fn df_of(path: &std::path::Path) -> (f64, f64) {
        let found = rustix::fs::statvfs(path).unwrap();
        (as_float(found.f_blocks * found.f_frsize), as_float(found.f_bavail * found.f_frsize))
    }
}
