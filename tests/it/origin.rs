//! The origin of the simulated world: a few objects, every version that they ever had, and the faults of a remote.

use std::sync::Arc;

use bytes::Bytes;
use larder::engine::FetchJob;
use larder::remote::{RemoteError, Sink};
use larder::testing::Rng;
use larder::units::{ByteRange, Facts, FileKind, ObjectName, Timestamp, Validator};

use crate::world::place;

/// One version of one object.
pub(crate) struct Version {
    pub(crate) facts: Facts,
    pub(crate) data: Bytes,
}

/// One object at the origin, with every version that it ever had; the last is the present one.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) name: ObjectName,
    pub(crate) versions: Vec<Arc<Version>>,
    /// Somebody is writing to it: what is fetched is noise of no version, and not settled.
    pub(crate) being_written: bool,
    /// The remote has it only as a whole.
    pub(crate) indivisible: bool,
}

impl Object {
    pub(crate) fn now(&self) -> &Arc<Version> {
        self.versions.last().unwrap()
    }

    /// Which version these facts describe.
    pub(crate) fn version_of(&self, facts: &Facts) -> Option<usize> {
        self.versions
            .iter()
            .position(|v| v.facts.validator == facts.validator)
    }
}

/// A whole object on its way.
pub(crate) struct Stream {
    job: FetchJob,
    rest: Bytes,
}

impl Stream {
    /// Delivers some more. Returns whether an error of the origin's making came of it, and itself if there is more.
    pub(crate) fn step(mut self, rng: &mut Rng, faults: bool) -> (bool, Option<Self>) {
        if faults && rng.chance(10) {
            let cut = rng.chance(128);
            self.job.finish(match cut {
                true => Err(RemoteError::Unreachable("cut".into())),
                false => Ok(()),
            });
            return (true, None);
        }
        if self.rest.is_empty() || self.job.is_enough() {
            self.job.finish(Ok(()));
            return (false, None);
        }
        if self.job.has_room() {
            let len = (1 + rng.index(50_000)).min(self.rest.len());
            self.job.data(self.rest.split_to(len));
        }
        (false, Some(self))
    }
}

/// The origin: a few objects.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) objects: Vec<Object>,
}

impl Origin {
    pub(crate) fn new(rng: &mut Rng, count: usize) -> Self {
        let mut origin = Self {
            objects: Vec::new(),
        };
        for n in 0..count {
            let name = ObjectName::new(format!("dir/object-{n}").into_bytes());
            origin.objects.push(Object {
                name,
                versions: Vec::new(),
                being_written: false,
                indivisible: n % 5 == 2,
            });
            origin.replace(n, rng);
        }
        origin
    }

    /// Gives an object a new version: replaced, truncated, grown, or rewritten with the same size.
    pub(crate) fn replace(&mut self, object: usize, rng: &mut Rng) {
        let place = &self.objects[object];
        let before = place.versions.last().map_or(0, |v| v.data.len());
        let len = match rng.below(4) {
            0 => before,
            1 => rng.index(before + 1),
            2 => before + rng.index(9000),
            _ => rng.index(150_000),
        }
        .min(200_000);
        self.replace_with_len(object, len, rng);
    }

    /// Gives an object a new version of `len` bytes.
    pub(crate) fn replace_with_len(&mut self, object: usize, len: usize, rng: &mut Rng) {
        let place = &mut self.objects[object];
        let mut data = vec![0; len];
        rng.fill(&mut data);
        let number = place.versions.len() as u64;
        let mtime = Timestamp {
            secs: 1000 + i64::try_from(number).unwrap(),
            nanos: 0,
        };
        let size = len as u64;
        let validator = match object % 2 {
            0 => Validator::Strong(format!("v{number}").into_bytes().into()),
            _ => Validator::Local {
                ino: object as u64,
                size,
                mtime,
                ctime: mtime,
            },
        };
        let facts = Facts {
            kind: FileKind::File,
            size,
            mtime,
            ctime: mtime,
            perm: 0o644,
            uid: 0,
            gid: 0,
            rdev: 0,
            validator: Some(validator),
        };
        place.versions.push(Arc::new(Version {
            facts,
            data: data.into(),
        }));
    }

    /// Answers a fetch without faults, to its end.
    pub(crate) fn serve_all(&mut self, job: FetchJob, rng: &mut Rng) {
        let (_, mut stream) = self.serve(job, rng, false);
        while let Some(rest) = stream {
            stream = rest.step(rng, false).1;
            std::thread::yield_now();
        }
    }

    /// Answers a fetch as a remote does. Returns whether an error of the origin's making came of it, and what is still to
    /// be delivered, bit by bit, of an object that there is only as a whole.
    pub(crate) fn serve(
        &mut self,
        mut job: FetchJob,
        rng: &mut Rng,
        faults: bool,
    ) -> (bool, Option<Stream>) {
        let name = job.name().clone();
        let at = self.objects.iter().position(|o| o.name == name).unwrap();
        if faults && rng.chance(20) {
            job.finish(Err(RemoteError::Unreachable("the cable is cut".into())));
            return (true, None);
        }
        let (range, bound) = (job.range(), job.bound());
        let (now, being_written) = {
            let object = &self.objects[at];
            (Arc::clone(object.now()), object.being_written)
        };
        let changed = RemoteError::Changed(Box::new(now.facts.clone()));
        let range = match bound {
            Some(_) => range,
            None => range.clip(ByteRange::new(0, now.facts.size)),
        };
        if bound.is_some_and(|b| Some(b) != now.facts.validator) || range.end > now.facts.size {
            job.finish(Err(changed));
            return (false, None);
        }
        if let Err(error) = job.version(&now.facts, !being_written) {
            job.finish(Err(error));
            return (false, None);
        }
        if self.objects[at].indivisible {
            if !job.whole() {
                job.finish(Ok(()));
                return (false, None);
            }
            let mut data = now.data.to_vec();
            if being_written {
                rng.fill(&mut data);
            }
            let rest = data.into();
            return (false, Some(Stream { job, rest }));
        }
        let (start, end) = (place(range.start), place(range.end));
        let mut bytes = now.data.slice(start..end);
        if being_written {
            let mut noise = vec![0; bytes.len()];
            rng.fill(&mut noise);
            bytes = noise.into();
        }
        while !bytes.is_empty() {
            let most = if rng.chance(128) { 20_000 } else { 200_000 };
            job.data(bytes.split_to((1 + rng.index(most)).min(bytes.len())));
            if faults && rng.chance(10) {
                let cut = rng.chance(128);
                job.finish(if cut {
                    Err(RemoteError::Unreachable("cut".into()))
                } else {
                    Ok(())
                });
                return (true, None);
            }
            if faults && rng.chance(6) {
                self.replace(at, rng);
                let facts = self.objects[at].now().facts.clone();
                job.finish(Err(RemoteError::Changed(Box::new(facts))));
                return (false, None);
            }
        }
        job.finish(Ok(()));
        (false, None)
    }
}
