//! Reads on behind keys that are unknown and values of the wrong type, so that all mistakes of a file are told at once.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::file::File;

/// What can be read of a file, and what is wrong: where, and how.
#[derive(Default)]
pub(super) struct Tolerated {
    pub(super) file: Option<File>,
    pub(super) mistakes: Vec<(Range<usize>, String)>,
}

/// Mistakes after which nothing more is looked for: one more than are told.
const ENOUGH: usize = super::MISTAKES + 1;

/// What was taken out of the file, so that the rest can be read.
enum Taken {
    /// A key that is not known.
    Key,
    /// The value of this key, or a part of it, in the table at this place.
    Value(Range<usize>, String),
    /// An element of a list.
    Element,
}

/// Each mistake is taken out and the rest is read again. A syntax error ends it: what is behind it may mean anything.
pub(super) fn read(text: &str) -> Tolerated {
    let mut tolerated = Tolerated::default();
    let mut table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            tolerated.mistakes.push((error.span().unwrap_or(0..0), error.message().to_owned()));
            return tolerated;
        }
    };
    let root = table.span();
    // Keys whose values were taken out, by the place of their table: that they are missing now is no mistake.
    let mut emptied: BTreeSet<(usize, usize, String)> = BTreeSet::new();
    // Every round tells a mistake or takes out a table, but that a table was emptied is found once for each of its keys.
    for _ in 0..ENOUGH * 2 {
        let error = match File::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => {
                tolerated.file = Some(without(file, &emptied));
                break;
            }
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let missing = missing_field(error.message());
        let known = missing.is_some_and(|field| emptied.contains(&(span.start, span.end, field.to_owned())));
        if !known {
            tolerated.mistakes.push((span.clone(), error.message().to_owned()));
        }
        if tolerated.mistakes.len() >= ENOUGH {
            break;
        }
        let is_of_root = missing == Some("version") && (error.span().is_none() || span == root);
        if is_of_root && !table.get_ref().contains_key("version") {
            let Ok(version) = DeTable::parse("version = 1") else { break };
            table.get_mut().extend(version.into_inner());
            continue;
        }
        match take(table.get_mut(), (&root, &span)) {
            Some(Taken::Value(place, key)) => _ = emptied.insert((place.start, place.end, key)),
            Some(Taken::Key | Taken::Element) => {}
            None => break,
        }
    }
    tolerated
}

/// Without entries of which a value was taken out: what else is said of them might only come of that.
fn without(mut file: File, emptied: &BTreeSet<(usize, usize, String)>) -> File {
    fn sound<T>(entries: &mut Vec<Spanned<T>>, emptied: &BTreeSet<(usize, usize, String)>) {
        entries.retain(|entry| {
            let span = entry.span();
            !emptied.iter().any(|(start, end, _)| *start >= span.start && *end <= span.end)
        });
    }
    sound(&mut file.internal_ca, emptied);
    sound(&mut file.interception, emptied);
    sound(&mut file.host, emptied);
    sound(&mut file.client_certificate, emptied);
    sound(&mut file.compromised, emptied);
    sound(&mut file.suppress, emptied);
    sound(&mut file.severity, emptied);
    file
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// Takes out the innermost thing that stands exactly there.
fn take(table: &mut DeTable<'_>, (place, wanted): (&Range<usize>, &Range<usize>)) -> Option<Taken> {
    if let Some(key) = table.keys().find(|key| key.span() == *wanted).cloned() {
        table.remove(&key);
        return Some(Taken::Key);
    }
    for (key, value) in table.iter_mut() {
        match take_inside(value, wanted) {
            // A list that lacks an element says something else: its entry is not to be judged by it.
            Some(Taken::Element) if !is_list_of_tables(value) => {
                return Some(Taken::Value(place.clone(), key.get_ref().to_string()));
            }
            Some(taken) => return Some(taken),
            None => {}
        }
    }
    let key = table.iter().find(|(_, value)| value.span() == *wanted).map(|(key, _)| key.clone())?;
    table.remove(&key);
    Some(Taken::Value(place.clone(), key.get_ref().to_string()))
}

/// Of a list that was left empty nobody knows what it was to be.
fn is_list_of_tables(value: &Spanned<DeValue<'_>>) -> bool {
    let DeValue::Array(array) = value.get_ref() else { return false };
    !array.is_empty() && array.iter().all(|element| matches!(element.get_ref(), DeValue::Table(_)))
}

fn take_inside(value: &mut Spanned<DeValue<'_>>, wanted: &Range<usize>) -> Option<Taken> {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => take(table, (&span, wanted)),
        DeValue::Array(array) => {
            if let Some(taken) = array.iter_mut().find_map(|element| take_inside(element, wanted)) {
                return Some(taken);
            }
            let place = array.iter().position(|element| element.span() == *wanted)?;
            let elements = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
            *array = elements.filter(|(number, _)| *number != place).map(|(_, element)| element).collect();
            Some(Taken::Element)
        }
        _ => None,
    }
}
