//! Answers written out: as a table, CSV or JSON.

use std::fmt::Write as _;

use super::answer::{Answer, Cell};
use crate::text::printable;

/// Widest column of a table, characters.
const WIDE: usize = 60;

/// Characters of a digest in a table: enough to tell certificates apart and to ask for one.
const DIGITS: usize = 16;

impl Answer {
    /// For a terminal: columns aligned, long texts and digests cut, everything unprintable escaped.
    pub fn to_table(&self) -> String {
        let cells = |row: &Vec<Cell>| row.iter().map(for_terminal).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let mut widths: Vec<usize> = self.columns.iter().map(|name| name.len()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let names: Vec<String> = self.columns.iter().map(|name| name.to_uppercase()).collect();
        for row in std::iter::once(&names).chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// For a terminal: one line for each value, for answers with few rows and many columns.
    pub fn to_list(&self) -> String {
        let width = self.columns.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            for (name, cell) in self.columns.iter().zip(row) {
                let _ = writeln!(text, "{name:<width$}  {}", printable(&cell.text()));
            }
            text.push('\n');
        }
        text.pop();
        text
    }

    /// RFC 4180, with a header. Cells that a spreadsheet would run as a formula begin with an apostrophe.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Writing to memory cannot fail.
        let _ = writer.write_record(&self.columns);
        for row in &self.rows {
            let _ = writer.write_record(row.iter().map(for_spreadsheet));
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// An array of objects, one a line.
    pub fn to_json(&self) -> String {
        let mut text = String::from("[");
        for (number, row) in self.rows.iter().enumerate() {
            text.push_str(if number == 0 { "\n" } else { ",\n" });
            text.push('{');
            for (place, (name, cell)) in self.columns.iter().zip(row).enumerate() {
                let comma = if place == 0 { "" } else { "," };
                let value = match cell {
                    Cell::Empty => serde_json::Value::Null,
                    Cell::Number(number) => (*number).into(),
                    other => other.text().into(),
                };
                let _ = write!(text, "{comma}\"{name}\":{value}");
            }
            text.push('}');
        }
        text.push_str("\n]\n");
        text
    }

    /// SHA-256 of the certificates of all rows, each once.
    pub fn digests(&self) -> Vec<crate::x509::Sha256> {
        let Some(column) = self.columns.iter().position(|name| *name == "sha256") else { return Vec::new() };
        let mut digests = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for row in &self.rows {
            if let Some(Cell::Digest(bytes)) = row.get(column)
                && let Ok(digest) = <[u8; 32]>::try_from(bytes.as_slice())
                && seen.insert(digest)
            {
                digests.push(crate::x509::Sha256(digest));
            }
        }
        digests
    }
}

fn for_terminal(cell: &Cell) -> String {
    let text = cell.text();
    match cell {
        Cell::Digest(_) => text.chars().take(DIGITS).collect(),
        Cell::Text(_) => {
            let text = printable(&text);
            if text.chars().count() <= WIDE {
                return text.into_owned();
            }
            text.chars().take(WIDE - 1).chain(['…']).collect()
        }
        _ => text,
    }
}

/// Names are a stranger's: `=cmd|..` is no formula (OWASP, "CSV Injection").
fn for_spreadsheet(cell: &Cell) -> String {
    let text = cell.text();
    match cell {
        Cell::Text(_) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => format!("'{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Timestamp, ValidityTime};

    fn hostile() -> Answer {
        let text = |text: &str| Cell::Text(text.to_owned());
        Answer {
            title: "",
            columns: vec!["sha256", "subject", "count", "at", "until"],
            rows: vec![
                vec![
                    Cell::Digest(vec![0xab; 32]),
                    text("=cmd|' /C calc'!A0"),
                    Cell::Number(-1),
                    Cell::Time(Timestamp::new(1_717_221_305, 5)),
                    Cell::Day(ValidityTime(-62_167_219_200)),
                ],
                vec![
                    Cell::Digest(vec![0xab; 32]),
                    text("a\x1b[2J\u{202e}\",b\n"),
                    Cell::Empty,
                    Cell::Empty,
                    Cell::Empty,
                ],
                vec![Cell::Digest(vec![1]), text(&"é".repeat(100)), Cell::Number(i64::MAX), Cell::Empty, Cell::Empty],
            ],
        }
    }

    #[test]
    fn a_terminal_sees_no_controls() {
        let table = hostile().to_table() + &hostile().to_list();
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
            answer.rows[0][1] = Cell::Text(format!("{first}1+1"));
            let csv = answer.to_csv();
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(&record[1], format!("'{first}1+1"));
            assert_eq!(&record[2], "-1");
        }
        let csv = hostile().to_csv();
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(reader.records().nth(1).unwrap().unwrap()[1].to_owned(), "a\x1b[2J\u{202e}\",b\n");
    }

    #[test]
    fn json_is_what_it_was() {
        let rows: serde_json::Value = serde_json::from_str(&hostile().to_json()).unwrap();
        assert_eq!(rows[0]["subject"], "=cmd|' /C calc'!A0");
        assert_eq!((&rows[0]["count"], &rows[1]["count"]), (&(-1).into(), &serde_json::Value::Null));
        assert_eq!(rows[0]["at"], "2024-06-01T05:55:05Z");
        assert_eq!(rows[1]["subject"], "a\x1b[2J\u{202e}\",b\n");
        assert_eq!(Answer::default().to_json(), "[\n]\n");
    }

    #[test]
    fn digests_come_once_and_only_whole() {
        assert_eq!(hostile().digests(), [crate::x509::Sha256([0xab; 32])]);
        assert_eq!(Answer::default().digests(), []);
    }
}
