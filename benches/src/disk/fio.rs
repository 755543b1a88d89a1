//! fio on the bare file: the floor that a guest's disk is measured against.
//!
//! It runs Debian's fio as a process and reads its JSON. Invariant: a run that reported any error is
//! a failure, never a number.

use std::path::Path;
use std::process::Command;

use halcyon::error::{Doing as _, Failure};
use serde::{Deserialize, Serialize};

use super::Run;

/// What one run of fio gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fio {
    /// Requests per second.
    pub iops: f64,
    /// From submission to completion.
    pub p50_us: f64,
    /// See `p50_us`.
    pub p99_us: f64,
    /// Processor time of the job, per request.
    pub cpu_us_per_request: f64,
}

/// Which fio there is, if any.
pub fn version() -> Option<String> {
    let said = Command::new("fio").arg("--version").output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    said.status.success().then(|| text.trim().to_owned())
}

/// One run on `image`.
pub fn run(image: &Path, run: &Run) -> Result<Fio, Failure> {
    let said = command(image, run).output().doing(|| "run fio".into())?;
    let text = String::from_utf8_lossy(&said.stdout);
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        let why = why
            .lines()
            .next()
            .or(text.lines().next())
            .unwrap_or("it does not say why");
        return Err(Failure::failed(format!(
            "fio on {}: {why}",
            image.display()
        )));
    }
    parse(&text)
}

fn command(image: &Path, run: &Run) -> Command {
    let mut command = Command::new("fio");
    command.args([
        "--name=bare",
        "--ioengine=io_uring",
        "--direct=1",
        "--bs=4k",
        "--time_based",
    ]);
    // Any block may come twice, as in the guest's load; and times as the guest sees them.
    command.args([
        "--norandommap=1",
        "--lat_percentiles=1",
        "--clat_percentiles=0",
    ]);
    command.args(["--output-format=json", "--allow_file_create=0"]);
    command.arg(if run.writes() {
        "--rw=randwrite"
    } else {
        "--rw=randread"
    });
    if !run.writes() {
        command.arg("--readonly");
    }
    command
        .arg(format!("--iodepth={}", run.depth))
        .arg(format!("--runtime={}", run.seconds));
    // fio takes a colon for the end of a name.
    let name = image.to_string_lossy().replace(':', "\\:");
    command.arg(format!("--filename={name}"));
    command.args(run.place.disk.map(|cpu| format!("--cpus_allowed={cpu}")));
    command
}

#[derive(Deserialize)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i64,
    read: Side,
    write: Side,
    /// In ms.
    job_runtime: f64,
    /// In percent of the run time.
    usr_cpu: f64,
    sys_cpu: f64,
}

#[derive(Deserialize)]
struct Side {
    iops: f64,
    total_ios: u64,
    lat_ns: Times,
}

#[derive(Deserialize)]
struct Times {
    #[serde(default)]
    percentile: std::collections::BTreeMap<String, f64>,
}

/// Reads fio's JSON, which warnings may precede.
fn parse(text: &str) -> Result<Fio, Failure> {
    let json = text
        .find('{')
        .and_then(|start| text.get(start..))
        .unwrap_or_default();
    let output: Output = serde_json::from_str(json).doing(|| "understand fio's report".into())?;
    let Some(job) = output.jobs.into_iter().next().filter(|job| job.error == 0) else {
        return Err(Failure::failed("fio reported an error"));
    };
    let side = if job.write.total_ios > 0 {
        job.write
    } else {
        job.read
    };
    let quantile_us = |name: &str| {
        side.lat_ns
            .percentile
            .get(name)
            .map_or(0.0, |ns| (ns / 10.0).round() / 100.0)
    };
    let busy_us = (job.usr_cpu + job.sys_cpu) / 100.0 * job.job_runtime * 1e3;
    Ok(Fio {
        iops: side.iops,
        p50_us: quantile_us("50.000000"),
        p99_us: quantile_us("99.000000"),
        cpu_us_per_request: busy_us / (side.total_ios.max(1) as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(error: i64) -> String {
        format!(
            r#"fio: a warning
            {{"jobs": [{{"error": {error}, "job_runtime": 1000, "usr_cpu": 10.0, "sys_cpu": 40.0,
            "read": {{"iops": 50000.0, "total_ios": 50000,
                "lat_ns": {{"percentile": {{"50.000000": 40123, "99.000000": 90000}}}}}},
            "write": {{"iops": 0.0, "total_ios": 0, "lat_ns": {{}}}}}}]}}"#
        )
    }

    #[test]
    fn rates_times_and_processor_time_are_read_from_the_side_that_did_something() {
        let fio = parse(&report(0)).unwrap();
        assert_eq!(fio.iops.round(), 50_000.0);
        assert_eq!((fio.p50_us * 100.0).round(), 4012.0);
        assert_eq!(fio.p99_us.round(), 90.0);
        assert_eq!(fio.cpu_us_per_request.round(), 10.0);
    }

    #[test]
    fn a_run_with_an_error_is_no_number() {
        assert!(parse(&report(5)).is_err());
        assert!(parse("no report at all").is_err());
    }
}
