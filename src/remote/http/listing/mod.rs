//! What a web server says is in a directory: its answer's bytes become names.
