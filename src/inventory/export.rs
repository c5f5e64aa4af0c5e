//! Answers written out: as a table, CSV or JSON.

use std::convert::Infallible;
use std::io::{self, Write};

use super::answer::{Answer, Cell};
use crate::text::printable;

/// Widest column of a table, characters.
const WIDE: usize = 60;

/// Characters of a digest in a table: enough to tell certificates apart and to ask for one.
const DIGITS: usize = 16;

impl Answer {
    /// For a terminal: columns aligned, long texts and digests cut, everything unprintable escaped.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        // Nothing is kept of a row but its widths: an answer may have a million of them.
        let mut widths: Vec<usize> = self.columns.iter().map(|name| name.len()).collect();
        let mut text = String::new();
        let measured: Result<(), Infallible> = self.rows.each(|row| {
            for (width, cell) in widths.iter_mut().zip(row) {
                for_terminal(cell, &mut text);
                *width = (*width).max(text.chars().count());
            }
            Ok(())
        });
        let Ok(()) = measured;
        let names: Vec<Cell> = self.columns.iter().map(|name| Cell::Text(name.to_uppercase().into())).collect();
        let mut line = String::new();
        let mut write_row = |row: &[Cell]| {
            line.clear();
            for (cell, width) in row.iter().zip(&widths) {
                for_terminal(cell, &mut text);
                line.push_str(&text);
                let missing = width.saturating_sub(text.chars().count());
                line.extend(std::iter::repeat_n(' ', missing + 2));
            }
            writeln!(out, "{}", line.trim_end())
        };
        write_row(&names)?;
        self.rows.each(write_row)
    }

    /// For a terminal: one line for each value, for answers with few rows and many columns.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_list(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.columns.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut first = true;
        self.rows.each(|row| {
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            for (name, cell) in self.columns.iter().zip(row) {
                writeln!(out, "{}", format!("{name:<width$}  {}", printable(&cell.text())).trim_end())?;
            }
            Ok(())
        })
    }

    /// RFC 4180, with a header. Cells that a spreadsheet would run as a formula begin with an apostrophe.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(&self.columns)?;
        let mut text = String::new();
        self.rows.each(|row| {
            for cell in row {
                for_spreadsheet(cell, &mut text);
                writer.write_field(&text)?;
            }
            writer.write_record(None::<&[u8]>)
        })?;
        writer.flush()
    }

    /// An array of objects, one a line.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"[")?;
        let mut text = String::new();
        let mut first = true;
        self.rows.each(|row| {
            out.write_all(if std::mem::take(&mut first) { b"\n{" } else { b",\n{" })?;
            for (place, (name, cell)) in self.columns.iter().zip(row).enumerate() {
                write!(out, "{}\"{name}\":", if place == 0 { "" } else { "," })?;
                text.clear();
                cell.append_to(&mut text);
                match cell {
                    Cell::Empty => out.write_all(b"null")?,
                    Cell::Number(_) => out.write_all(text.as_bytes())?,
                    _ => serde_json::to_writer(&mut *out, &text)?,
                }
            }
            out.write_all(b"}")
        })?;
        out.write_all(b"\n]\n")
    }

    /// SHA-256 of the certificates of all rows, each once.
    pub fn digests(&self) -> Vec<crate::x509::Sha256> {
        let Some(column) = self.columns.iter().position(|name| *name == "sha256") else { return Vec::new() };
        let mut digests = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let gathered: Result<(), Infallible> = self.rows.each(|row| {
            if let Some(Cell::Digest(bytes)) = row.get(column)
                && let Ok(digest) = <[u8; 32]>::try_from(&**bytes)
                && seen.insert(digest)
            {
                digests.push(crate::x509::Sha256(digest));
            }
            Ok(())
        });
        let Ok(()) = gathered;
        digests
    }
}

/// Puts a cell into `out`.
fn for_terminal(cell: &Cell, out: &mut String) {
    out.clear();
    match cell {
        Cell::Digest(bytes) => {
            let shown = Cell::Digest(bytes.get(..DIGITS / 2).unwrap_or(bytes).into());
            shown.append_to(out);
        }
        Cell::Text(text) => {
            let text = printable(text);
            if text.chars().count() <= WIDE {
                out.push_str(&text);
            } else {
                out.extend(text.chars().take(WIDE - 1).chain(['…']));
            }
        }
        _ => cell.append_to(out),
    }
}

/// Puts a cell into `out`. Names are a stranger's: `=cmd|..` is no formula (OWASP, "CSV Injection").
fn for_spreadsheet(cell: &Cell, out: &mut String) {
    out.clear();
    if matches!(cell, Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])) {
        out.push('\'');
    }
    cell.append_to(out);
}

#[cfg(test)]
mod tests {
    use super::super::answer::Rows;
    use super::*;
    use crate::time::{Timestamp, ValidityTime};

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn hostile() -> Answer {
        let text = |text: &str| Cell::Text(text.into());
        let digest = |bytes: &[u8]| Cell::Digest(bytes.into());
        Answer {
            title: "",
            columns: vec!["sha256", "subject", "count", "at", "until"],
            rows: Rows::Made(vec![
                vec![
                    digest(&[0xab; 32]),
                    text("=cmd|' /C calc'!A0"),
                    Cell::Number(-1),
                    Cell::Time(Timestamp::new(1_717_221_305, 5)),
                    Cell::Day(ValidityTime(-62_167_219_200)),
                ],
                vec![digest(&[0xab; 32]), text("a\x1b[2J\u{202e}\",b\n"), Cell::Empty, Cell::Empty, Cell::Empty],
                vec![digest(&[1]), text(&"é".repeat(100)), Cell::Number(i64::MAX), Cell::Empty, Cell::Empty],
            ]),
        }
    }

    #[test]
    fn a_terminal_sees_no_controls() {
        let table = written(|out| hostile().write_table(out)) + &written(|out| hostile().write_list(out));
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()) && !table.contains('\u{202e}'));
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("SHA256            SUBJECT "));
        assert_eq!(lines[1].split_whitespace().next(), Some("abababababababab"));
        assert!(lines[2].contains(r#"a\u{1b}[2J\u{202e}",b\u{a}"#));
        assert!(lines[3].contains('…') && lines[3].chars().count() < 160);
        let column = lines[1].find("-1").unwrap();
        assert_eq!(lines[0].find("COUNT"), Some(column));
    }

    #[test]
    fn no_cell_is_a_formula() {
        for first in ['=', '+', '-', '@', '\t', '\r', '\n'] {
            let mut answer = hostile();
            let Rows::Made(rows) = &mut answer.rows else { unreachable!() };
            rows[0][1] = Cell::Text(format!("{first}1+1").into());
            let csv = written(|out| answer.write_csv(out));
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(&record[1], format!("'{first}1+1"));
            assert_eq!(&record[2], "-1");
        }
        let csv = written(|out| hostile().write_csv(out));
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(reader.records().nth(1).unwrap().unwrap()[1].to_owned(), "a\x1b[2J\u{202e}\",b\n");
    }

    #[test]
    fn json_is_what_it_was() {
        let rows: serde_json::Value = serde_json::from_str(&written(|out| hostile().write_json(out))).unwrap();
        assert_eq!(rows[0]["subject"], "=cmd|' /C calc'!A0");
        assert_eq!((&rows[0]["count"], &rows[1]["count"]), (&(-1).into(), &serde_json::Value::Null));
        assert_eq!(rows[0]["at"], "2024-06-01T05:55:05Z");
        assert_eq!(rows[1]["subject"], "a\x1b[2J\u{202e}\",b\n");
        assert_eq!(written(|out| Answer::default().write_json(out)), "[\n]\n");
    }

    #[test]
    fn digests_come_once_and_only_whole() {
        assert_eq!(hostile().digests(), [crate::x509::Sha256([0xab; 32])]);
        assert_eq!(Answer::default().digests(), []);
    }
}
