//! Which columns of a table a terminal has room for, and how wide they are.

use crate::text::fit;

use super::answer::Cell;

/// Blanks between columns.
pub(super) const GAP: usize = 2;

/// Digits of a digest on a terminal: enough to tell certificates apart and to ask for one.
pub(super) const DIGITS: usize = 16;

/// The same where there is little room.
const FEW_DIGITS: usize = 8;

/// Characters of a day.
const DAY: usize = "2024-06-01".len();

/// What a name or a text needs to say something; rather than make it narrower, columns are left out that may be spared.
const TELLING: usize = 16;

/// What stands in a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, or numbers.
    #[default]
    Plain,
    /// Times and days.
    Time,
    /// Names.
    Text,
    /// Digests.
    Digest,
}

impl Content {
    /// With one more cell.
    pub(super) fn and(self, cell: &Cell) -> Self {
        match cell {
            Cell::Text(_) => Self::Text,
            Cell::Digest(_) => Self::Digest,
            Cell::Time(_) | Cell::Day(_) => Self::Time,
            Cell::Empty | Cell::Number(_) => self,
        }
    }
}

/// A column before it is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Column {
    /// Width of its name.
    pub(super) name: usize,
    /// Width of its widest cell, or of its name.
    pub(super) width: usize,
    /// What stands in it.
    pub(super) content: Content,
}

impl Column {
    /// Below this it says too little.
    fn least(self) -> usize {
        let least = match self.content {
            Content::Plain => self.width,
            Content::Time => DAY,
            Content::Text => TELLING,
            Content::Digest => FEW_DIGITS,
        };
        least.max(self.name).min(self.width)
    }
}

/// How wide each column is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// `None`: left out.
    pub(super) widths: Vec<Option<usize>>,
    /// Of times only the day is shown.
    pub(super) days: bool,
}

impl Layout {
    /// Fits columns into a line of `width`. Where there is little room, the day of each time tells more than the hour of
    /// one, and half a digest as much as the whole; then columns are left out in the order of `spare`; then names are
    /// cut, for half a name still says something, half a number or a time does not.
    pub(super) fn fitted(columns: &[Column], spare: &[usize], width: usize) -> Self {
        let mut shown = vec![true; columns.len()];
        let left = |shown: &[bool]| -> Vec<(usize, Column)> {
            let all = columns.iter().copied().enumerate().zip(shown);
            all.filter(|(_, shown)| **shown).map(|(column, _)| column).collect()
        };
        let is_full = |shown: &[bool]| total(left(shown).iter().map(|(_, column)| column.least())) > width;
        for place in spare {
            if !is_full(&shown) {
                break;
            }
            if let Some(shown) = shown.get_mut(*place) {
                *shown = false;
            }
        }
        let left = left(&shown);
        let mut fitting: Vec<usize> = left.iter().map(|(_, column)| column.width).collect();
        let days = total(fitting.iter().copied()) > width;
        if days {
            narrow(&mut fitting, &left, width);
        }
        let mut widths = vec![None; columns.len()];
        for ((place, _), width) in left.iter().zip(fitting) {
            if let Some(place) = widths.get_mut(*place) {
                *place = Some(width);
            }
        }
        Self { widths, days }
    }

    /// Columns that are left out.
    pub(super) fn left_out(&self) -> impl Iterator<Item = usize> {
        self.widths.iter().enumerate().filter(|(_, width)| width.is_none()).map(|(place, _)| place)
    }
}

/// Columns of a line.
fn total(widths: impl Iterator<Item = usize>) -> usize {
    let with_gaps = widths.fold(0, |sum: usize, width| sum.saturating_add(width).saturating_add(GAP));
    with_gaps.saturating_sub(GAP)
}

/// Makes columns narrower until a line fits.
fn narrow(widths: &mut [usize], columns: &[(usize, Column)], width: usize) {
    for (width, (_, column)) in widths.iter_mut().zip(columns).filter(|(_, (_, one))| one.content == Content::Time) {
        *width = column.least();
    }
    let room = width.saturating_sub(GAP * columns.len().saturating_sub(1));
    let digests = columns.iter().filter(|(_, column)| column.content == Content::Digest);
    let digits = digests.map(|(_, column)| column.least()).max().unwrap_or(FEW_DIGITS);
    for (content, least) in [(Content::Digest, digits), (Content::Text, 9)] {
        let of_these = |column: &(usize, Column)| column.1.content == content;
        let others = widths.iter().zip(columns).filter(|(_, column)| !of_these(column)).map(|(width, _)| *width);
        let others = others.fold(0, usize::saturating_add);
        let these = widths.iter_mut().zip(columns).filter(|(_, column)| of_these(column)).map(|(width, _)| width);
        fit(these, room.saturating_sub(others), least);
    }
    // A day, the beginning of a word, and less only where there are so many columns.
    for least in [11, 6, 3] {
        fit(&mut *widths, room, least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: usize, width: usize, content: Content) -> Column {
        Column { name, width, content }
    }

    /// As of `list`: a digest, two names, a time, a number, a name.
    fn columns() -> Vec<Column> {
        vec![
            column(6, DIGITS, Content::Digest),
            column(7, 30, Content::Text),
            column(6, 50, Content::Text),
            column(5, 20, Content::Time),
            column(5, 5, Content::Plain),
            column(5, 12, Content::Text),
        ]
    }

    #[test]
    fn what_can_be_spared_goes_before_names_say_nothing() {
        let fitted = |width| Layout::fitted(&columns(), &[3, 4], width);
        let widths = |all: [usize; 6]| all.map(|width| (width > 0).then_some(width)).to_vec();
        for (width, expected, days) in [
            (143, [16, 30, 50, 20, 5, 12], false),
            (142, [16, 30, 50, 10, 5, 12], true),
            (133, [16, 30, 50, 10, 5, 12], true),
            (132, [15, 30, 50, 10, 5, 12], true),
            (125, [8, 30, 50, 10, 5, 12], true),
            (124, [8, 30, 49, 10, 5, 12], true),
            (77, [8, 16, 16, 10, 5, 12], true),
            (76, [8, 21, 21, 0, 5, 12], true),
            (65, [8, 16, 16, 0, 5, 12], true),
            (64, [8, 19, 19, 0, 0, 12], true),
            (40, [8, 8, 8, 0, 0, 8], true),
            (14, [3, 3, 3, 0, 0, 3], true),
        ] {
            let layout = fitted(width);
            let sum = total(layout.widths.iter().flatten().copied());
            assert!(sum <= width.max(18), "{width}: {sum}");
            assert_eq!((layout.widths, layout.days), (widths(expected), days), "{width}");
        }
        assert_eq!(fitted(64).left_out().collect::<Vec<_>>(), [3, 4]);
        // Without anything to spare all are cut, and times are days as long as that can be.
        let layout = Layout::fitted(&columns(), &[], 60);
        assert_eq!(layout.widths, widths([8, 9, 9, 10, 5, 9]), "{:?}", layout.widths);
    }

    #[test]
    fn numbers_times_and_heads_are_whole() {
        let columns = [
            column(13, 16, Content::Digest),
            column(12, 12, Content::Plain),
            column(11, 20, Content::Time),
            column(4, 60, Content::Text),
        ];
        for width in [59, 70, 200] {
            let widths: Vec<_> = Layout::fitted(&columns, &[], width).widths.into_iter().flatten().collect();
            assert!(widths.iter().zip(&columns).all(|(width, column)| *width >= column.name), "{width}: {widths:?}");
        }
        assert_eq!(Layout::fitted(&[], &[3], 0), Layout { widths: vec![], days: false });
    }
}
