//! What a slot that is in use takes in memory, held against the figure in ARCHITECTURE.md.

use std::sync::Arc;

use super::cull::BYTES_PER_PLACE;
use super::slot::Slot;

/// The most that each slot of a loaded segment takes: the slot itself, as the allocator rounds it, and its part of the table
/// and of the policy. Checksums are in memory only while the sector lacks them.
fn bytes_per_slot() -> usize {
    // The two counts of an Arc, and the allocator's own word, in steps of 16 bytes.
    let slot =
        (size_of::<Slot>() + 2 * size_of::<usize>() + size_of::<usize>()).next_multiple_of(16);
    let place = size_of::<Option<Arc<Slot>>>();
    // A place and a byte of control, in a map that has just grown to twice its size: it is seven sixteenths full.
    let map = (size_of::<u32>() + 1) * 16 / 7;
    // One bit, of a free map.
    let free = 1;
    slot + place + map + free + BYTES_PER_PLACE
}

#[test]
fn a_slot_takes_what_the_document_says() {
    let bytes = bytes_per_slot();
    let told = format!("{bytes} bytes of memory");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let document = std::fs::read_to_string(path).expect("the document");
    assert!(
        document.contains(&told),
        "ARCHITECTURE.md does not say: {told}"
    );
}
