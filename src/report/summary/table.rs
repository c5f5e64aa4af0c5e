//! A table for a terminal: columns as wide as they need, the widest shortened until a line fits.

use std::fmt::Write as _;

use crate::text::{columns, cut, fit, printable};

/// Blanks between columns.
const GAP: usize = 2;
/// No column is shortened below this.
const NARROW: usize = 6;
/// Digits of a digest that can be asked for.
const FEW_DIGITS: usize = 8;

/// Columns of text that is spared first.
const FEW_COLUMNS: usize = 12;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
    /// Digests, on the left: their first digits, fewer where there is little room.
    Digits,
    /// Text that is shortened before any other.
    Spare,
}

/// Rows under a title; written only when there are any.
#[derive(Debug)]
pub(super) struct Table<'a> {
    title: &'a str,
    columns: &'a [(&'a str, Align)],
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    /// A table without rows.
    pub(super) fn new(title: &'a str, columns: &'a [(&'a str, Align)]) -> Self {
        Self { title, columns, rows: Vec::new() }
    }

    /// Adds a row; every cell is made safe for a terminal.
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
    }

    /// Appends a blank line, the title, the rows and how many `more` there are.
    pub(super) fn write(&self, text: &mut String, width: usize, more: usize) {
        if self.rows.is_empty() {
            return;
        }
        let widths = self.widths(width);
        let _ = writeln!(text, "\n{}", self.title);
        let heads: Vec<_> = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(self.columns) {
                let cell = match align {
                    // Not a mark for one that can be asked for.
                    Align::Digits => cell.get(..*width).unwrap_or(cell).into(),
                    _ => cut(cell, *width),
                };
                let padding = width.saturating_sub(columns(&cell));
                line.push_str(&" ".repeat(GAP));
                match align {
                    Align::Left | Align::Digits | Align::Spare => {
                        line.push_str(&cell);
                        line.push_str(&" ".repeat(padding));
                    }
                    Align::Right => {
                        line.push_str(&" ".repeat(padding));
                        line.push_str(&cell);
                    }
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if more > 0 {
            let _ = writeln!(text, "  and {more} more");
        }
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<_> = self.columns.iter().map(|(head, _)| columns(head)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = columns(cell).max(*width);
            }
        }
        let room = width.saturating_sub(GAP * self.columns.len());
        for (first, least) in [(Align::Digits, FEW_DIGITS), (Align::Spare, FEW_COLUMNS)] {
            let others = widths.iter().zip(self.columns).filter(|(_, (_, align))| *align != first);
            let others = others.fold(0, |sum: usize, (width, _)| sum.saturating_add(*width));
            let these = widths.iter_mut().zip(self.columns).filter(|(_, (_, align))| *align == first);
            fit(these.map(|(width, _)| width), room.saturating_sub(others), least);
        }
        fit(&mut widths, room, NARROW);
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_spared_gives_way_first() {
        let mut table = Table::new("", &[("name", Align::Left), ("issuer", Align::Spare)]);
        table.row(["www.example.com", "Example Issuing CA 1"]);
        for (width, widths) in [(39, [15, 20]), (38, [15, 19]), (31, [15, 12]), (30, [14, 12]), (20, [8, 8])] {
            assert_eq!(table.widths(width), widths, "{width}");
        }
    }
}
