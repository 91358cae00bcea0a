//! The session of one use of the cache: its epoch, which makes every stamp new, and how the use before it ended.

use std::io;
use std::sync::Arc;

use crate::engine::error::OpenError;
use crate::engine::index::index_file::IndexFile;
use crate::engine::index::last_shutdown::{LastShutdown, same_run};
use crate::format::{Geometry, SECTOR_LEN, Sector, SegmentHeader, Session, SessionState};
use crate::runtime::clock::Clock;
use crate::storage::{HostIdentity, Storage};
use crate::units::Uuid;

/// Reads one sector of the index.
pub(crate) fn sector(storage: &dyn Storage, offset: u64) -> io::Result<Sector> {
    let mut sector = [0; SECTOR_LEN];
    storage.read_index(offset, &mut sector)?;
    Ok(sector)
}

/// The headers of all segments, `None` for one that is blank or damaged: it proves nothing anyway.
pub(crate) fn read_headers(
    storage: &dyn Storage,
    uuid: Uuid,
    geometry: &Geometry,
) -> io::Result<Vec<Option<SegmentHeader>>> {
    let mut bytes = vec![0; geometry.segments() as usize * SECTOR_LEN];
    storage.read_index(Geometry::segment_header_offset(0), &mut bytes)?;
    let sectors = bytes.as_chunks::<SECTOR_LEN>().0.iter().zip(0u32..);
    Ok(sectors
        .map(|(sector, number)| SegmentHeader::decode(sector, uuid, number).ok())
        .collect())
}

/// The session of this mount: an epoch above every one that is known, and the first epoch of this boot and this mount
/// of the disk. And how the one before it ended.
pub(crate) fn next_session(
    storage: &dyn Storage,
    uuid: Uuid,
    headers: &[Option<SegmentHeader>],
    host: HostIdentity,
    clock: &dyn Clock,
) -> Result<(Session, LastShutdown), OpenError> {
    let copies = [
        sector(storage, Geometry::session_offset(0))?,
        sector(storage, Geometry::session_offset(1))?,
    ];
    let last = Session::choose(&copies, uuid);
    // A cache that was used and has lost both copies might issue an epoch a second time.
    if last.is_none() && copies.iter().any(|copy| *copy != [0; SECTOR_LEN]) {
        return Err(OpenError::Session);
    }
    let issued = headers
        .iter()
        .flatten()
        .map(|header| header.stamp.epoch())
        .max()
        .unwrap_or(0);
    let epoch = 1 + last.map_or(0, |session| session.epoch).max(issued);
    if epoch >= 1 << 24 {
        return Err(OpenError::Epochs(epoch));
    }
    let same_run = last.filter(|session| same_run(session, &host));
    let next = Session {
        state: SessionState::Open,
        sequence: last.map_or(0, |session| session.sequence) + 1,
        epoch,
        trusted_epoch: same_run.map_or(epoch, |session| session.trusted_epoch),
        boot_id: host.boot_id,
        host_id: host.host_id,
        disk_mount_id: host.disk_mount_id,
        started_at: clock.wall().as_secs(),
        pid: host.pid,
    };
    Ok((next, LastShutdown::of(last.as_ref(), &host)))
}

/// Writes both copies of the session of this mount. The first is synced before a stamp of the new epoch is used; the
/// second follows, so that no single damaged sector can bring an old epoch back.
pub(crate) fn begin(
    storage: &dyn Storage,
    uuid: Uuid,
    first: &Session,
    twin: &Session,
) -> io::Result<()> {
    write_session(storage, uuid, first)?;
    storage.sync_index()?;
    write_session(storage, uuid, twin)
}

fn write_session(storage: &dyn Storage, uuid: Uuid, session: &Session) -> io::Result<()> {
    storage.write_index(session.offset(), &session.encode(uuid))
}

/// The second copy of a session.
pub(crate) fn twin(first: &Session) -> Session {
    Session {
        sequence: first.sequence + 1,
        ..*first
    }
}

/// The session of this use, as both of its copies have it on disk.
pub(crate) struct OpenSession {
    file: Arc<IndexFile>,
    session: Session,
}

impl OpenSession {
    /// The session that was written to `file` last.
    pub(crate) fn new(file: Arc<IndexFile>, session: Session) -> Self {
        Self { file, session }
    }

    /// Writes it once more, past the watch over the disk: whatever a power cut makes of it, it is still what was there.
    pub(crate) fn rewrite(&self, disk: &dyn Storage) -> io::Result<()> {
        if self.file.read_only {
            return Ok(());
        }
        write_session(disk, self.file.uuid, &self.session)?;
        disk.sync_index()
    }

    /// Marks the cache as closed cleanly, for good.
    pub(crate) fn end(&self) -> io::Result<()> {
        let clean = Session {
            state: SessionState::Clean,
            sequence: self.session.sequence + 1,
            ..self.session
        };
        write_session(&*self.file.storage, self.file.uuid, &clean)?;
        self.file.storage.sync_index()
    }
}
