//! Disks that take nothing more: full, read-only after a fault, or beyond a quota. Nothing is done unrecorded then, the
//! gateway says why, nothing is torn, and once there is room it goes on by itself (AUD-1).
//!
//! The disks are real: a small tmpfs or an ext4 image in a mount namespace of its own (`unshare`), a limit on the size of files
//! (RLIMIT_FSIZE) as a quota. Where mount namespaces are not permitted, the limit takes the place of the small disk, and the
//! test says so; there is no test of a read-only disk then but that of a start on it.
#![cfg(test)]

#[expect(dead_code, reason = "enforcement uses the rest")]
#[path = "enforcement/chance.rs"]
mod chance;
#[path = "disk/ground.rs"]
mod ground;
#[path = "disk/house.rs"]
mod house;
#[expect(dead_code, reason = "journeys use the rest")]
#[path = "journeys/house.rs"]
mod journeys;
#[path = "crash/load.rs"]
mod load;
#[expect(dead_code, reason = "journeys use the rest")]
mod support;
#[expect(dead_code, reason = "crash uses the rest")]
#[path = "crash/told.rs"]
mod told;

use std::time::Duration;

use ground::Ground;
use house::House;
use load::Errand;

/// Requests until a disk that is full has been noticed, at most.
const UNTIL_NOTICED: usize = 400;

/// Longest wait until the gateway goes on.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads and writes of every kind.
const ERRANDS: [Errand; 8] = [
    Errand::Read,
    Errand::Create,
    Errand::StreamedRead,
    Errand::Update,
    Errand::Search,
    Errand::Batch,
    Errand::Transaction,
    Errand::Page,
];

/// Some of everything is answered.
async fn serves(house: &mut House) {
    for errand in ERRANDS {
        let told = house.send(errand).await;
        let well = told.as_ref().is_some_and(|told| [200, 201].contains(&told.status));
        house.findings.check(well, format!("{}: not answered as on a good disk", errand.name()));
    }
    house.is_ready(true, PATIENCE).await;
}

/// Asks until the disk is noticed, then goes on for a while: reads and writes are refused, and `/ready` says why.
async fn refuses(house: &mut House) {
    let mut noticed = false;
    for _ in 0..UNTIL_NOTICED {
        noticed = house.send(Errand::Read).await.is_some_and(|told| told.is_unrecorded());
        if noticed {
            break;
        }
    }
    house.findings.check(noticed, "no request was refused although nothing can be recorded");
    let why = house.is_ready(false, PATIENCE).await;
    house.findings.check(why.contains("audit"), format!("`/ready` does not speak of the audit: {why}"));
    println!("disk: /ready says {why}");
    house.demo.fhir.forget();
    for errand in ERRANDS.into_iter().cycle().take(4 * ERRANDS.len()) {
        let told = house.send(errand).await;
        let refused = told.is_some_and(|told| told.is_unrecorded());
        house
            .findings
            .check(refused, format!("{}: answered although nothing can be recorded", errand.name()));
    }
    let reached = house.demo.fhir.log();
    let words: Vec<_> = reached.iter().map(|it| format!("{} {}", it.method, it.target)).collect();
    house.findings.check(words.is_empty(), format!("reached the backend unannounced: {words:?}"));
    house.verify("while nothing can be recorded");
}

/// A full disk, and one that is full when the gateway starts.
async fn goes_through(ground: Ground) {
    let mut house = House::open(ground, "refuse").await;
    serves(&mut house).await;
    house.fill();
    refuses(&mut house).await;
    house.empty();
    house.is_ready(true, PATIENCE).await;
    serves(&mut house).await;

    house.fill();
    refuses(&mut house).await;
    house.kill();
    match house.try_start().await {
        Ok(()) => println!("disk: it starts on a full disk"),
        Err(said) => println!("disk: it does not start on a full disk: {said}"),
    }
    house.kill();
    house.empty();
    house.start().await;
    serves(&mut house).await;
    for round in 0..3 {
        house.full_under_load(round).await;
    }
    house.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    let ground = Ground::tmpfs().unwrap_or_else(|why| {
        println!("disk: no mount namespace ({why}): a limit on files takes the place of a small disk");
        Ground::limit()
    });
    goes_through(ground).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota() {
    goes_through(Ground::limit()).await;
}

/// A disk that its file system makes read-only after a fault, as ext4 does with `errors=remount-ro`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_becomes_read_only() {
    let ground = match Ground::ext4() {
        Ok(ground) => ground,
        Err(why) => {
            println!(
                "disk: no ext4 image can be mounted ({why}): only the start on a read-only folder is looked at"
            );
            return a_start_on(Ground::tmpfs().unwrap_or_else(|_| Ground::limit())).await;
        }
    };
    let mut house = House::open(ground, "refuse").await;
    serves(&mut house).await;
    house.ground.break_down();
    refuses(&mut house).await;
    house.kill();
    let started = house.try_start().await;
    house.findings.check(started.is_err(), "it starts although its folder cannot be written");
    println!("disk: on a read-only disk it says {}", started.err().unwrap_or_default());
    house.kill();
    house.ground.mend();
    house.start().await;
    serves(&mut house).await;
    house.close();
}

/// A read-only folder keeps the gateway from starting.
async fn a_start_on(ground: Ground) {
    let mut house = House::open(ground, "refuse").await;
    serves(&mut house).await;
    house.kill();
    house.ground.read_only();
    let started = house.try_start().await;
    house.findings.check(started.is_err(), "it starts although its folder cannot be written");
    house.kill();
    house.ground.writable();
    house.start().await;
    serves(&mut house).await;
    house.close();
}

/// `on_failure = "continue"`: answered all the same; the loss is counted and logged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_on_unrecorded() {
    let ground = Ground::tmpfs().unwrap_or_else(|why| {
        println!("disk: no mount namespace ({why}): a limit on files takes the place of a small disk");
        Ground::limit()
    });
    let mut house = House::open(ground, "continue").await;
    serves(&mut house).await;
    house.fill();
    let mut lost = 0;
    for round in 0..UNTIL_NOTICED {
        let told = house.send(ERRANDS[round % ERRANDS.len()]).await;
        let well = told.is_some_and(|told| [200, 201].contains(&told.status));
        house.findings.check(well, "not answered, although it goes on unrecorded");
        lost = house.counted("pforte_audit_failed_total").await;
        if lost > 20 {
            break;
        }
    }
    house.findings.check(lost > 20, format!("{lost} lost events are counted"));
    let log = house.log();
    house.findings.check(log.contains("audit event not recorded"), format!("the log does not tell:\n{log}"));
    house.empty();
    house.is_ready(true, PATIENCE).await;
    let before = house.counted("pforte_audit_failed_total").await;
    house.forget_told();
    serves(&mut house).await;
    let after = house.counted("pforte_audit_failed_total").await;
    house.findings.check(before == after, "events are lost although there is room again");
    house.close();
}
