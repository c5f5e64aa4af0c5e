//! Answers written out: as a table, CSV or JSON.

use std::convert::Infallible;
use std::io::{self, Write};

use super::answer::{Answer, Cell};
use crate::text::{columns, cut, fit, is_unsafe, printable, printable_json};

/// Characters up to which the columns of a table that is not cut are aligned: a stranger's name of 60,000 characters would
/// make every line as long.
const ALIGNED: usize = 64;

/// Blanks between columns.
const GAP: usize = 2;

/// Characters of a digest on a terminal: enough to tell certificates apart and to ask for one.
const DIGITS: usize = 16;

/// Characters of a day.
const DAY: usize = "2024-06-01".len();

/// The column with the SHA-256 of a certificate.
const CERTIFICATE: &str = "sha256";

impl Answer {
    /// For reading: columns aligned, everything unprintable escaped. With the `width` of a terminal digests are cut, and
    /// times to their day and the widest columns until a line fits; without, nothing is.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_table(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let digits = if width.is_some() { DIGITS } else { usize::MAX };
        // Nothing is kept of a row but its widths: an answer may have a million of them.
        let mut widths: Vec<usize> = self.columns.iter().map(|name| name.len()).collect();
        let mut words = vec![false; widths.len()];
        let mut times = vec![false; widths.len()];
        let mut text = String::new();
        let measured: Result<(), Infallible> = self.rows.each(|row| {
            for (((width, words), times), cell) in widths.iter_mut().zip(&mut words).zip(&mut times).zip(row) {
                for_terminal((cell, digits), &mut text);
                *width = (*width).max(columns(&text));
                *words |= matches!(cell, Cell::Text(_) | Cell::Digest(_));
                *times |= matches!(cell, Cell::Time(_) | Cell::Day(_));
            }
            Ok(())
        });
        let Ok(()) = measured;
        let gaps = GAP * widths.len().saturating_sub(1);
        // Where there is little room, the day of each time tells more than the hour of one and nothing of a name.
        let days = width.is_some_and(|width| widths.iter().sum::<usize>().saturating_add(gaps) > width);
        for (width, name) in
            widths.iter_mut().zip(&self.columns).zip(&times).filter(|(_, times)| days && **times).map(|(one, _)| one)
        {
            *width = DAY.max(name.len());
        }
        match width {
            Some(width) => shorten(&mut widths, &words, width),
            None => widths.iter_mut().for_each(|width| *width = (*width).min(ALIGNED)),
        }
        let names: Vec<Cell> = self.columns.iter().map(|name| Cell::Text(name.to_uppercase().into())).collect();
        let mut line = String::new();
        let mut write_row = |row: &[Cell]| {
            line.clear();
            for (cell, most) in row.iter().zip(&widths) {
                for_terminal((cell, digits), &mut text);
                if days && matches!(cell, Cell::Time(_) | Cell::Day(_)) {
                    text.truncate(text.find('T').unwrap_or(text.len()));
                }
                let shown = if width.is_some() { cut(&text, *most) } else { text.as_str().into() };
                line.push_str(&shown);
                let missing = most.saturating_sub(columns(&shown));
                line.extend(std::iter::repeat_n(' ', missing + GAP));
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

/// Makes a line fit a terminal: half a name still says something, half a number or a time does not.
fn shorten(widths: &mut [usize], words: &[bool], width: usize) {
    let room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
    let all = widths.iter().fold(0, |sum: usize, width| sum.saturating_add(*width));
    let texts = || widths.iter().zip(words).filter(|(_, words)| **words).map(|(width, _)| *width);
    let others = all.saturating_sub(texts().fold(0, usize::saturating_add));
    let texts = widths.iter_mut().zip(words).filter(|(_, words)| **words).map(|(width, _)| width);
    fit(texts, room.saturating_sub(others), 9);
    // A day, the beginning of a word, and less only where there are so many columns.
    for least in [11, 6, 3] {
        fit(&mut *widths, room, least);
    }
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
            &written(|out| hostile().write_list(out)),
            &written(|out| hostile().write_csv(out, true)),
            &written(|out| hostile().write_json(out)),
        ] {
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'));
        }
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("SHA256            SUBJECT "));
        assert_eq!(lines[1].split_whitespace().next(), Some("abababababababab"));
        assert!(lines[2].contains(r#"a\u{1b}[2J\u{202e}",b\u{a}"#));
        assert!(lines[3].contains('…'));
        let column = lines[1].find("-1").unwrap();
        assert_eq!(lines[0].find("COUNT"), Some(column));
    }

    #[test]
    fn a_table_fits_the_terminal_and_is_whole_elsewhere() {
        for width in [40, 60, 80, 120, 300] {
            let table = written(|out| hostile().write_table(out, Some(width)));
            let longest = table.lines().map(|line| columns(line)).max().unwrap();
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
