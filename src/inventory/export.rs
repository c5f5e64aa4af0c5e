//! Answers written out: as a table, CSV or JSON.

use std::convert::Infallible;
use std::io::{self, Write};

use super::answer::{Answer, Cell};
use super::layout::{Column, DIGITS, GAP, Layout};
use crate::text::{columns, cut, folded, is_unsafe, printable, printable_json};

/// Characters up to which the columns of a table that is not cut are aligned: a stranger's name of 60,000 characters would
/// make every line as long.
const ALIGNED: usize = 64;

/// The column with the SHA-256 of a certificate.
const CERTIFICATE: &str = "sha256";

impl Answer {
    /// For reading: columns aligned, everything unprintable escaped. With the `width` of a terminal digests are shortened,
    /// times to their day, columns left out and names cut until a line fits, and the last line names what was left out;
    /// without, nothing is.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_table(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let measured = self.measured(if width.is_some() { DIGITS } else { usize::MAX });
        let layout = match width {
            Some(width) => {
                let place = |name: &&str| self.columns.iter().position(|column| column == name);
                let spare: Vec<usize> = self.spare.iter().filter_map(place).collect();
                Layout::fitted(&measured, &spare, width)
            }
            None => {
                let widths = measured.iter().map(|column| Some(column.width.min(ALIGNED))).collect();
                Layout { widths, days: false }
            }
        };
        let names: Vec<Cell> = self.columns.iter().map(|name| Cell::Text(name.to_uppercase().into())).collect();
        let (mut line, mut text) = (String::new(), String::new());
        let mut write_row = |row: &[Cell]| {
            line.clear();
            for (cell, most) in row.iter().zip(&layout.widths).filter_map(|(cell, most)| Some((cell, (*most)?))) {
                for_terminal((cell, if width.is_some() { most.min(DIGITS) } else { usize::MAX }), &mut text);
                if layout.days && matches!(cell, Cell::Time(_) | Cell::Day(_)) {
                    text.truncate(text.find('T').unwrap_or(text.len()));
                }
                let shown = if width.is_some() { cut(&text, most) } else { text.as_str().into() };
                line.push_str(&shown);
                let missing = most.saturating_sub(columns(&shown));
                line.extend(std::iter::repeat_n(' ', missing + GAP));
            }
            writeln!(out, "{}", line.trim_end())
        };
        write_row(&names)?;
        self.rows.each(write_row)?;
        let left_out: Vec<&str> = layout.left_out().filter_map(|place| self.columns.get(place)).copied().collect();
        if let Some(width) = width.filter(|_| !left_out.is_empty() && !self.rows.is_empty()) {
            let left_out = left_out.join(", ");
            writeln!(out)?;
            for line in folded(&format!("columns left out: {left_out} (--format csv has all)"), width) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    /// The columns with so many digits of each digest. Nothing else is kept of a row: an answer may have a million of them.
    fn measured(&self, digits: usize) -> Vec<Column> {
        let columns_of = |name: &&str| Column { name: name.len(), width: name.len(), ..Column::default() };
        let mut measured: Vec<Column> = self.columns.iter().map(columns_of).collect();
        let mut text = String::new();
        let done: Result<(), Infallible> = self.rows.each(|row| {
            for (column, cell) in measured.iter_mut().zip(row) {
                for_terminal((cell, digits), &mut text);
                column.width = column.width.max(columns(&text));
                column.content = column.content.and(cell);
            }
            Ok(())
        });
        let Ok(()) = done;
        measured
    }

    /// For reading: one line for each value, for answers with few rows and many columns. With the `width` of a terminal
    /// what is longer than a line is folded: nothing is cut, and nothing stands where only names of columns do.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_list(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let indent = self.columns.iter().map(|name| name.len()).max().unwrap_or(0) + GAP;
        let mut first = true;
        self.rows.each(|row| {
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            for (name, cell) in self.columns.iter().zip(row) {
                let text = cell.text();
                let text = printable(&text);
                let fits = width.is_none_or(|width| columns(&text).saturating_add(indent) <= width);
                if let Some(width) = width.filter(|_| !fits) {
                    write_folded(out, (name, &text), (indent, width))?;
                } else {
                    writeln!(out, "{}", format!("{name:<indent$}{text}").trim_end())?;
                }
            }
            Ok(())
        })
    }

    /// RFC 4180, with a header. Cells that a spreadsheet would run as a formula begin with an apostrophe, behind a semicolon or tab inside too. For a terminal
    /// everything unprintable is escaped.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_csv(&self, out: &mut dyn Write, to_terminal: bool) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(&self.columns)?;
        let mut text = String::new();
        self.rows.each(|row| {
            for cell in row {
                for_spreadsheet(cell, &mut text);
                if to_terminal {
                    writer.write_field(&*printable(&text))?;
                } else {
                    writer.write_field(&text)?;
                }
            }
            writer.write_record(None::<&[u8]>)
        })?;
        writer.flush()
    }

    /// An array of objects, one a line; what a terminal would obey is escaped.
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
                    // Of ASCII all but DEL is escaped already.
                    _ if text.bytes().all(|byte| byte < 0x7f) => serde_json::to_writer(&mut *out, &text)?,
                    _ => out.write_all(printable_json(serde_json::to_string(&text)?).as_bytes())?,
                }
            }
            out.write_all(b"}")
        })?;
        out.write_all(b"\n]\n")
    }

    /// Its rows are about certificates.
    pub fn names_certificates(&self) -> bool {
        self.columns.contains(&CERTIFICATE)
    }

    /// SHA-256 of the certificates of all rows, each once.
    pub fn digests(&self) -> Vec<crate::x509::Sha256> {
        let Some(column) = self.columns.iter().position(|name| *name == CERTIFICATE) else { return Vec::new() };
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

/// A value that is longer than a line: beside its name, or below where a word of it has no room there, as a digest.
fn write_folded(out: &mut dyn Write, (name, text): (&str, &str), (indent, width): (usize, usize)) -> io::Result<()> {
    let longest = text.split_whitespace().map(columns).max().unwrap_or(0);
    let beside = longest.saturating_add(indent) <= width;
    let (mut name, indent) = if beside { (name, indent) } else { (writeln!(out, "{name}").map(|()| "")?, GAP) };
    for line in folded(text, width.saturating_sub(indent)) {
        writeln!(out, "{name:<indent$}{line}")?;
        name = "";
    }
    Ok(())
}

/// Puts a cell into `out`, of a digest so many digits.
fn for_terminal((cell, digits): (&Cell, usize), out: &mut String) {
    out.clear();
    match cell {
        Cell::Digest(_) => {
            cell.append_to(out);
            out.truncate(digits);
        }
        Cell::Text(text) => out.push_str(&printable(text)),
        _ => cell.append_to(out),
    }
}

/// Puts a cell into `out`. Names are a stranger's: `=cmd|..` is no formula (OWASP, "CSV Injection"; ASVS 1.2.10). Where the
/// language of a spreadsheet wants semicolons or tabs between cells, it cuts ours at them, quotes or not: what follows
/// begins a cell too.
fn for_spreadsheet(cell: &Cell, out: &mut String) {
    out.clear();
    let Cell::Text(text) = cell else { return cell.append_to(out) };
    let mut begins = true;
    for character in text.chars() {
        if begins && begins_formula(character) {
            out.push('\'');
        }
        out.push(character);
        begins = matches!(character, ';' | '\t');
    }
}

/// The signs, also in full width, and what a spreadsheet may drop before them.
fn begins_formula(character: char) -> bool {
    let signs = matches!(character, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}');
    signs || character.is_control() || is_unsafe(character)
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
            spare: &[],
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
        let table = written(|out| hostile().write_table(out, Some(120)));
        for shown in [
            &table,
            &written(|out| hostile().write_table(out, None)),
            &written(|out| hostile().write_list(out, None)),
            &written(|out| hostile().write_csv(out, true)),
            &written(|out| hostile().write_json(out)),
        ] {
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'));
        }
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("SHA256    SUBJECT "));
        assert_eq!(lines[1].split_whitespace().next(), Some("abababab"));
        assert!(lines[2].contains(r#"a\u{1b}[2J\u{202e}",b\u{a}"#));
        assert!(lines[3].contains('…'));
        let column = lines[1].find("-1").unwrap();
        assert_eq!(lines[0].find("COUNT"), Some(column));
    }

    #[test]
    fn a_table_fits_the_terminal_and_is_whole_elsewhere() {
        for width in [40, 60, 80, 120, 300] {
            let table = written(|out| hostile().write_table(out, Some(width)));
            let longest = table.lines().map(columns).max().unwrap();
            assert!(longest <= width, "{width}: {longest}\n{table}");
            // The room is used, and nothing is cut where it is enough.
            assert!(
                table.contains('…') == (width < 300) && (width == 300 || longest > width - 20),
                "{longest}\n{table}"
            );
        }
        // A day is whole where an hour would be cut, and an hour is there where it fits.
        let table = written(|out| hostile().write_table(out, Some(80)));
        assert!(table.contains(" 2024-06-01 ") && !table.contains("2024-06-01T"), "{table}");
        assert!(written(|out| hostile().write_table(out, Some(300))).contains("2024-06-01T05:55:05Z"));
        let mut long = hostile();
        let Rows::Made(rows) = &mut long.rows else { unreachable!() };
        rows[0][1] = Cell::Text("x".repeat(60_000).into());
        let whole = written(|out| long.write_table(out, None));
        assert!(!whole.contains('…') && whole.contains(&"ab".repeat(32)) && whole.contains(&"x".repeat(60_000)));
        let lines: Vec<_> = whole.lines().map(str::len).collect();
        assert!(lines[0] < 200 && lines[1] > 60_000 && lines[2] < 200, "one long name makes one long line: {lines:?}");
        assert!(written(|out| long.write_table(out, Some(80))).lines().all(|line| columns(line) <= 80));
    }

    #[test]
    fn what_is_left_out_is_named() {
        let mut answer = hostile();
        answer.spare = &["count", "none of them", "until"];
        let table = written(|out| answer.write_table(out, Some(49)));
        assert_eq!(words(table.lines().next().unwrap()), ["SHA256", "SUBJECT", "AT"], "{table}");
        assert!(table.ends_with("\n\ncolumns left out: count, until (--format csv has\nall)\n"), "{table}");
        let table = written(|out| answer.write_table(out, Some(70)));
        assert!(table.contains(" UNTIL") && table.ends_with("\n\ncolumns left out: count (--format csv has all)\n"));
        let narrow = written(|out| answer.write_table(out, Some(30)));
        assert!(narrow.ends_with("\ncolumns left out: count, until\n(--format csv has all)\n"), "{narrow}");
        assert!(!written(|out| answer.write_table(out, Some(300))).contains("left out"));
        assert_eq!(words(&written(|out| answer.write_table(out, None)))[2], "COUNT");
        // Without rows nothing is missing.
        answer.rows = Rows::default();
        assert_eq!(written(|out| answer.write_table(out, Some(20))).lines().count(), 1);
    }

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn a_list_is_folded_and_nothing_of_it_is_cut() {
        let mut answer = hostile();
        let Rows::Made(rows) = &mut answer.rows else { unreachable!() };
        rows.truncate(1);
        rows[0][1] = Cell::Text(format!("one two {} four", "3".repeat(40)).into());
        for (width, expected) in [
            (70, format!("sha256\n  {0}\nsubject  one two {1} four\n", "ab".repeat(32), "3".repeat(40))),
            (66, format!("sha256\n  {0}\nsubject  one two {1} four\n", "ab".repeat(32), "3".repeat(40))),
            (
                60,
                format!(
                    "sha256\n  {0}\n  ababab\nsubject  one two {1}\n         four\n",
                    "ab".repeat(29),
                    "3".repeat(40)
                ),
            ),
            (
                45,
                format!(
                    "sha256\n  {0}{0}aba\n  b{0}\nsubject\n  one two\n  {1}\n  four\n",
                    "ab".repeat(10),
                    "3".repeat(40)
                ),
            ),
        ] {
            let list = written(|out| answer.write_list(out, Some(width)));
            assert!(list.starts_with(&expected), "{width}\n{list}");
            assert!(list.lines().all(|line| columns(line) <= width), "{width}\n{list}");
        }
        assert!(written(|out| answer.write_list(out, None)).starts_with(&format!("sha256   {}\n", "ab".repeat(32))));
    }

    #[test]
    fn wide_characters_and_marks_keep_columns_in_line() {
        let names = [
            "abc",
            "株式会社日本認証局",
            "한국전자인증",
            "Zoe\u{308} \u{5d0}\u{5b8}",
            "🔒 \u{202e}🔒",
            &"証".repeat(40),
        ];
        let row = |name: &&str| vec![Cell::Text((*name).into()), Cell::Number(7), Cell::Text("end".into())];
        let answer = Answer {
            columns: vec!["name", "n", "last"],
            rows: Rows::Made(names.iter().map(row).collect()),
            ..Answer::default()
        };
        // Counted by hand: what is tested counts otherwise.
        let columns = |text: &str| -> usize {
            let of =
                |one| usize::from(!matches!(one, '\u{300}'..='\u{36f}' | '\u{5b8}')) + usize::from(one >= '\u{2e80}');
            text.chars().map(of).sum()
        };
        for width in [None, Some(40), Some(41), Some(79), Some(200)] {
            let table = written(|out| answer.write_table(out, width));
            let before = |line: &str| columns(line.rsplit_once("  ").unwrap().0.trim_end());
            let places: Vec<_> = table.lines().skip(1).map(before).collect();
            // What is longer than columns are aligned moves what stands behind it.
            let aligned = if width.is_none() { 5 } else { 6 };
            assert!(places.iter().take(aligned).all(|place| *place == places[0]), "{width:?} {places:?}\n{table}");
            assert!(table.lines().all(|line| columns(line) <= width.unwrap_or(usize::MAX)), "{table}");
            assert!(table.lines().skip(1).all(|line| line.ends_with("7  end")), "{table}");
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for first in ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{feff}', '\u{200b}', '\u{ff1d}', '\u{ff0b}'] {
            let mut answer = hostile();
            let Rows::Made(rows) = &mut answer.rows else { unreachable!() };
            rows[0][1] = Cell::Text(format!("{first}1+1").into());
            let csv = written(|out| answer.write_csv(out, false));
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(&record[1], format!("'{first}1+1"));
            assert_eq!(&record[2], "-1");
        }
        // Cut at semicolons or tabs, no piece is one either.
        for (name, shown) in [
            (";=1+1", ";'=1+1"),
            ("a;@x", "a;'@x"),
            ("x\t-1", "x\t'-1"),
            (";;\u{feff}=1", ";;'\u{feff}=1"),
            ("a; b-c=d", "a; b-c=d"),
            ("*.a-b.example", "*.a-b.example"),
        ] {
            let mut answer = hostile();
            let Rows::Made(rows) = &mut answer.rows else { unreachable!() };
            rows[0][1] = Cell::Text(name.into());
            let csv = written(|out| answer.write_csv(out, false));
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            assert_eq!(&reader.records().next().unwrap().unwrap()[1], shown);
        }
        let csv = written(|out| hostile().write_csv(out, false));
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
