//! What culling costs: `cargo bench --bench cull`. It prints two tables and takes some two minutes. Arguments are ignored.
//!
//! First the cost of one cull, with 10,000 to 1,000,000 slots in use: the whole way of a fill into a full cache (its
//! victim proposed, taken from its tenant, both sectors written), over an index in memory and without chunk files, so that
//! what grows with the number of slots shows. Then the time of a cached read of 4 KiB from a real directory, with nothing
//! else going on and while another thread fills a full cache as fast as it can.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

mod beside;
mod index;
mod rig;

fn main() {
    println!("one cull, in a cache whose slots are all in use (a chunk of 4 KiB each)");
    println!(
        "{:>10} {:>9} {:>12} {:>12} {:>13}",
        "slots", "segments", "fill, ns", "with cull, ns", "probes a cull"
    );
    for slots in [10_000, 100_000, 1_000_000] {
        let cost = index::cull(slots);
        println!(
            "{:>10} {:>9} {:>12.0} {:>12.0} {:>13.2}",
            cost.slots, cost.segments, cost.fill_ns, cost.cull_ns, cost.probes
        );
    }
    println!("\na cached read of 4 KiB, in us");
    println!(
        "{:>22} {:>9} {:>9} {:>9} {:>12}",
        "", "reads", "p50", "p99", "culls a s"
    );
    for (what, culling) in [
        ("idle", false),
        ("fills, no room needed", true),
        ("culling at full rate", true),
    ] {
        let cull = what.starts_with("culling");
        let seen = beside::reads(culling, cull);
        println!(
            "{what:>22} {:>9} {:>9.2} {:>9.2} {:>12.0}",
            seen.reads, seen.p50_us, seen.p99_us, seen.culls_a_second
        );
    }
}
