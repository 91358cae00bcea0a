//! A mount of a temporary directory, with everything beneath it, in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, Clock, Config, DiskPool, Source, SourceSettings, SystemClock,
    Verify,
};
use larder::fuse::{FuseMount, MountSettings};
use larder::host::RemoteFetcher;
use larder::remote::{DirRemote, DirSettings, Network, Remote, SlowRemote, SlowSettings};
use larder::storage::{CacheDir, CacheDirError, CreateOptions, open_or_create};
use larder::vfs::{MetadataTtl, Owner, Vfs, VfsOptions};

use super::cli::rig::wait_until;

/// How a test wants its mount.
pub(crate) struct Wish {
    pub(crate) ttl: MetadataTtl,
    pub(crate) chunks: ChunkPolicy,
    pub(crate) capacity: u64,
    /// Where to mount; `mnt` beside the origin where `None`.
    pub(crate) mountpoint: Option<PathBuf>,
    /// Where the cache is; `cache` beside the origin where `None`.
    pub(crate) cache: Option<PathBuf>,
    pub(crate) slow: SlowSettings,
    /// How long the remote may take to answer.
    pub(crate) timeout: Duration,
    pub(crate) stats: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) options: Vec<String>,
    pub(crate) verify: Verify,
    /// The boot that the machine claims to be in; its own where `None`.
    pub(crate) boot: Option<u8>,
    /// Puts a remote of the test's own before the origin.
    pub(crate) wrap: Wrap,
}

type Wrap = Box<dyn FnOnce(Arc<dyn Remote>) -> Arc<dyn Remote>>;

impl Wish {
    fn source_settings(&self) -> SourceSettings {
        SourceSettings {
            chunks: self.chunks.clone(),
            timeout: self.timeout,
            ..SourceSettings::default()
        }
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            ttl: MetadataTtl::seconds(60),
            chunks: ChunkPolicy::Auto,
            capacity: 256 << 20,
            mountpoint: None,
            cache: None,
            slow: SlowSettings::default(),
            timeout: Duration::from_secs(30),
            stats: Arc::new(|| "{}".to_owned()),
            options: Vec::new(),
            verify: Verify::First,
            boot: None,
            wrap: Box::new(|remote| remote),
        }
    }
}

/// A temporary directory with `origin`, `mnt` and `cache` in it; it outlives mounts of it.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "these tests mount with FUSE and there is no /dev/fuse here: load the module (modprobe fuse), or start the \
             container with --device /dev/fuse --cap-add SYS_ADMIN"
        );
        let dir = tempfile::tempdir().unwrap();
        // Other users are to be kept out by the files' own permissions only.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        for name in ["origin", "mnt", "cache"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// A path in the origin.
    pub(crate) fn origin(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join("origin").join(path)
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Mounts the origin.
    pub(crate) fn mount(&self, wish: Wish) -> Mounted {
        Mounted::new(self, wish)
    }
}

/// Opens a cache that a mount of this process may have had until now: a program that another test is starting has for a
/// moment, until it is the program, all descriptors of this one, and their locks.
pub(crate) fn open_cache(path: &Path, options: &CreateOptions) -> CacheDir {
    let mut opened = None;
    wait_until("the cache is free", || {
        match open_or_create(path, options, &mut |_| {}) {
            Ok(cache) => opened = Some(cache),
            Err(CacheDirError::Locked {
                holder: Some(holder),
                ..
            }) if holder.pid == std::process::id() => {}
            Err(error) => panic!("{error}"),
        }
        opened.is_some()
    });
    opened.unwrap()
}

/// A live mount; unmounted when dropped.
pub(crate) struct Mounted {
    mount: Option<FuseMount>,
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) slow: Arc<SlowRemote>,
    pub(crate) cache: Arc<Cache>,
    executor: Arc<DiskPool>,
    mountpoint: PathBuf,
    ticking: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
    closes: bool,
}

impl Mounted {
    fn new(stage: &Stage, wish: Wish) -> Self {
        let source_settings = wish.source_settings();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let mountpoint = wish.mountpoint.unwrap_or_else(|| stage.path("mnt"));
        let cache_path = wish.cache.unwrap_or_else(|| stage.path("cache"));
        let options = CreateOptions {
            capacity: wish.capacity,
            slots: None,
            files: None,
        };
        let storage = open_cache(&cache_path, &options);
        let executor = Arc::new(DiskPool::new(2, 2, 4096).unwrap());
        let mut host = storage.host();
        host.boot_id = wish.boot.map_or(host.boot_id, |boot| [boot; 16]);
        let deps = CacheDeps {
            host,
            storage: Arc::new(storage),
            executor: Arc::clone(&executor) as _,
            clock: Arc::clone(&clock),
        };
        let config = Config {
            verify: wish.verify,
            ..Config::default()
        };
        let cache = Cache::open(deps, config).unwrap();
        let network = Arc::new(Network::new(wish.timeout, 16).unwrap());
        let wall = Arc::clone(&clock);
        // The files of the tests are young; to the remote it is a while later.
        let settings = DirSettings::new(Arc::new(move || wall.wall() + Duration::from_secs(100)));
        let dir = DirRemote::open(&stage.origin(""), settings).unwrap();
        dir.hide(&[mountpoint.clone(), cache_path.clone()]);
        let slow = Arc::new(SlowRemote::new(Arc::new(dir), wish.slow));
        let remote: Arc<dyn Remote> = (wish.wrap)(Arc::clone(&slow) as _);
        let fetcher = RemoteFetcher::new(Arc::clone(&network), Arc::clone(&remote), 32);
        let source = Source::new(&cache, remote.identity(), "test", fetcher, source_settings);
        let options = VfsOptions {
            metadata_ttl: wish.ttl,
            clock,
            stats: wish.stats,
            cache_dir: cache_path.into_os_string().into_encoded_bytes(),
            owner: Owner::default(),
            listed_max: 1 << 20,
        };
        let vfs = Vfs::new(source, remote, network, options).unwrap();
        let settings = MountSettings {
            mountpoint: mountpoint.clone(),
            fsname: "the-origin".to_owned(),
            threads: 2,
            // An ordinary user may allow others only where /etc/fuse.conf says so.
            allow_other: rustix::process::geteuid().is_root(),
            options: wish.options,
        };
        let mount = FuseMount::mount(&vfs, &settings).unwrap();
        let ticking = Arc::new(AtomicBool::new(true));
        let (on, ticked) = (Arc::clone(&ticking), Arc::clone(&cache));
        let ticker = std::thread::spawn(move || {
            while on.load(Ordering::Relaxed) {
                ticked.tick();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self {
            mount: Some(mount),
            vfs,
            slow,
            cache,
            executor,
            mountpoint,
            ticking,
            ticker: Some(ticker),
            closes: true,
        }
    }

    /// A path in the mount.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.mountpoint.join(path)
    }

    /// Ends as a machine does whose power goes: nothing is closed.
    pub(crate) fn cut(mut self) {
        drop(self.mount.take());
        self.ticking.store(false, Ordering::Relaxed);
        let _ = self.ticker.take().map(JoinHandle::join);
        self.executor.shut_down();
        self.closes = false;
    }

    /// How many data bytes came from the origin so far.
    pub(crate) fn fetched(&self) -> u64 {
        self.slow.bytes()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.mount.take());
        self.ticking.store(false, Ordering::Relaxed);
        let _ = self.ticker.take().map(JoinHandle::join);
        // As the daemon does it: what is on its way to the disk comes first.
        self.executor.shut_down();
        if self.closes {
            let _ = self.cache.close();
        }
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
