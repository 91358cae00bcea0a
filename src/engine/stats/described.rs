//! Counters that describe themselves: the one list of their names, kinds and sentences.
//!
//! A struct that is made by [`described`] has its fields' documentation as data beside it. What `larder stats` shows
//! and what Prometheus is given are both made from that, so that neither can have a name which the other lacks.
//!
//! Names follow Prometheus: the unit is the end of a name (`_bytes`, `_timestamp_seconds`, things where there is none),
//! and what only grows has `_total` behind it in the exposition.

/// What a field is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    /// A number that only grows, from the opening of the cache on.
    Counter,
    /// A number that goes up and down; a yes is 1.
    Gauge,
    /// A word.
    Word,
    /// Several fields under one name.
    Group(&'static [Field]),
}

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes each second.
    BytesPerSecond,
    /// A moment: seconds since 1970.
    Moment,
    /// The things that the name says.
    Things,
}

/// One field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name: the key in the JSON of `larder stats`.
    pub name: &'static str,
    /// What it is.
    pub kind: FieldKind,
    /// A sentence that says what it counts.
    pub help: &'static str,
}

impl Field {
    /// What it counts, as its name tells.
    pub fn unit(&self) -> Unit {
        unit_of(self.name)
    }
}

/// What a number of this name counts.
pub fn unit_of(name: &str) -> Unit {
    match name {
        name if name.ends_with("_bytes_per_second") => Unit::BytesPerSecond,
        name if name.ends_with("_bytes") => Unit::Bytes,
        name if name.ends_with("_timestamp_seconds") => Unit::Moment,
        _ => Unit::Things,
    }
}

/// Makes a struct whose fields describe themselves: each is `counter`, `gauge`, `word` or `group`, and `FIELDS` lists
/// them.
macro_rules! described {
    (@counter $type:ty) => { $crate::engine::stats::described::FieldKind::Counter };
    (@gauge $type:ty) => { $crate::engine::stats::described::FieldKind::Gauge };
    (@word $type:ty) => { $crate::engine::stats::described::FieldKind::Word };
    (@group $type:ty) => { $crate::engine::stats::described::FieldKind::Group(<$type>::FIELDS) };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $($(#[doc = $doc:literal])+ $kind:ident $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Default, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        $vis struct $name { $($(#[doc = $doc])+ $vis $field: $type,)* }

        impl $name {
            /// What the fields are.
            $vis const FIELDS: &'static [$crate::engine::stats::described::Field] = &[
                $($crate::engine::stats::described::Field {
                name: stringify!($field),
                kind: $crate::engine::stats::described::described!(@$kind $type),
                help: concat!($($doc),+).trim_ascii(),
            },)*];
        }
    };
}
pub(crate) use described;

#[cfg(test)]
mod tests {
    use super::*;

    described! {
        /// A sample.
        struct Sample {
            /// How many
            /// there were.
            counter seen: u64,
            /// What they took.
            gauge held_bytes: u64,
        }
    }

    #[test]
    fn a_struct_lists_its_fields() {
        let [seen, held] = Sample::FIELDS else {
            panic!("two fields")
        };
        assert_eq!((seen.name, seen.kind), ("seen", FieldKind::Counter));
        assert_eq!(seen.help, "How many there were.");
        assert_eq!((seen.unit(), held.unit()), (Unit::Things, Unit::Bytes));
        assert_eq!(unit_of("last_finish_timestamp_seconds"), Unit::Moment);
    }
}
