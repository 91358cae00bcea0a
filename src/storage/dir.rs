//! The cache directory on a real disk.
