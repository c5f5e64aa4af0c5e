//! The catalogue as text: `tlswatch rules`, `tlswatch rules show`, docs/RULES.md.

use std::fmt::Write as _;

use crate::text::{cut, folded};

use super::{ATTACK_VERSION, Category, Rule, SettingKind, rules};

/// Columns that `tlswatch rules show` fills at most.
const WIDTH: usize = 100;

/// One line per rule under a heading, for a terminal of so many columns, or whole.
pub fn rules_table(width: Option<usize>) -> String {
    let slug_width = rules().map(|rule| rule.slug.len()).max().unwrap_or(0);
    let mut out =
        format!("{:<14} {:<8} {:>4} {:<6} {:<slug_width$} NAME\n", "ID", "SEVERITY", "CONF", "EFFECT", "SLUG");
    for rule in rules() {
        line(
            &mut out,
            format_args!(
                "{:<14} {:<8} {:>4} {:<6} {:<slug_width$} {}",
                rule.id,
                rule.severity,
                rule.confidence,
                rule.effect.name(),
                rule.slug,
                rule.name
            ),
        );
    }
    match width {
        Some(width) => out.lines().map(|line| format!("{}\n", cut(line, width))).collect(),
        None => out,
    }
}

/// Everything about one rule, for a terminal of so many columns, if there is one.
pub fn rule_text(rule: &Rule, width: Option<usize>) -> String {
    let width = width.map_or(WIDTH, |width| width.min(WIDTH));
    let mut out = format!("{} {}\n{}\n\n", rule.id, rule.slug, rule.name);
    line(&mut out, format_args!("{:<16}{}", "category", rule.category.name()));
    line(&mut out, format_args!("{:<16}{} ({})", "severity", rule.severity, rule.severity.number()));
    line(&mut out, format_args!("{:<16}{}", "confidence", rule.confidence));
    line(&mut out, format_args!("{:<16}{}", "effect", rule.effect.name()));
    line(&mut out, format_args!("{:<16}{}", "version", rule.version));
    for (heading, text) in
        [("Condition", rule.description), ("False positives", rule.false_positives), ("What to do", rule.remedy)]
    {
        line(&mut out, format_args!("\n{heading}"));
        wrap(&mut out, text, width);
    }
    if !rule.settings.is_empty() {
        out.push_str("\nSettings\n");
        for setting in rule.settings {
            let text = format!("{} = {}: {}", setting.name, default_text(setting.kind), setting.meaning);
            wrap(&mut out, &text, width);
        }
    }
    if !rule.techniques.is_empty() {
        line(&mut out, format_args!("\nATT&CK for Enterprise {ATTACK_VERSION}"));
        for technique in rule.techniques {
            wrap(&mut out, &format!("{} {} ({})", technique.id, technique.name, technique.tactics.join(", ")), width);
        }
    }
    out.push_str("\nReferences\n");
    for reference in rule.references {
        wrap(&mut out, reference, width);
    }
    out
}

/// The whole of docs/RULES.md.
pub fn rules_markdown() -> String {
    let mut out = format!(
        "# Rules\n\n\
         This file is made from the catalogue in the source (`UPDATE=1 cargo test rules_document` writes it).\n\
         A rule is named by its id, with or without `TLSW-`, or its slug, in the policy file as on the command line.\n\
         Every rule can be switched off in the file (`[rules.\"ID\"] enabled = false`); its own settings stand in its\n\
         section. Severities are 21 low, 47 medium, 73 high and 99 critical; confidence (0 to 100) says how sure it is\n\
         that something is wrong, not how bad that would be. A rule with the effect \"mark\" writes its finding into the\n\
         event of the certificate or handshake and raises no alert. ATT&CK techniques are those of ATT&CK for\n\
         Enterprise {ATTACK_VERSION}.\n"
    );
    for category in Category::ALL {
        line(&mut out, format_args!("\n## {}\n", category_heading(category)));
        out.push_str("| id | slug | severity | confidence | effect | name |\n|---|---|---|---|---|---|\n");
        for rule in rules().filter(|rule| rule.category == category) {
            line(
                &mut out,
                format_args!(
                    "| [{id}](#{anchor}) | `{}` | {} | {} | {} | {} |",
                    rule.slug,
                    rule.severity,
                    rule.confidence,
                    rule.effect.name(),
                    rule.name,
                    id = rule.id,
                    anchor = rule.id.to_ascii_lowercase(),
                ),
            );
        }
        for rule in rules().filter(|rule| rule.category == category) {
            section(&mut out, rule);
        }
    }
    out
}

fn section(out: &mut String, rule: &Rule) {
    line(out, format_args!("\n### {}\n\n**{}.** `{}`, version {}", rule.id, rule.name, rule.slug, rule.version));
    for (heading, text) in
        [("Condition", rule.description), ("False positives", rule.false_positives), ("What to do", rule.remedy)]
    {
        line(out, format_args!("\n*{heading}.* {}", markdown(text)));
    }
    if !rule.techniques.is_empty() {
        let techniques: Vec<String> = rule
            .techniques
            .iter()
            .map(|technique| format!("[{}]({}) {}", technique.id, technique.reference(), technique.name))
            .collect();
        line(out, format_args!("\n*ATT&CK.* {}.", techniques.join(", ")));
    }
    if !rule.settings.is_empty() {
        out.push_str("\n| setting | default | meaning |\n|---|---|---|\n");
        for setting in rule.settings {
            line(out, format_args!("| `{}` | `{}` | {} |", setting.name, default_text(setting.kind), setting.meaning));
        }
    }
    line(out, format_args!("\n*References.* {}.", rule.references.join("; ")));
}

fn category_heading(category: Category) -> &'static str {
    match category {
        Category::Mitm => "Interception (mitm)",
        Category::KeyReuse => "Keys (key_reuse)",
        Category::Certificate => "Certificates (certificate)",
        Category::Crypto => "Versions, ciphers, signatures (crypto)",
        Category::Policy => "Policy (policy)",
    }
}

fn default_text(kind: SettingKind) -> String {
    match kind {
        SettingKind::Number { default, .. } => default.to_string(),
        SettingKind::Numbers { default, .. } => format!("{default:?}"),
        SettingKind::Duration { default } => format!("\"{}\"", duration_text(default)),
        SettingKind::Flag { default } => default.to_string(),
    }
}

/// Seconds in the largest unit that divides them, as the policy file takes them.
fn duration_text(seconds: i64) -> String {
    let (unit, name) = [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds != 0 && seconds % unit == 0)
        .unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

/// What Markdown would take for markup: tables' bars, brackets of links, stars.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '[' | ']' | '*' | '|' | '<' | '>') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Indented by two columns, in lines of at most so many.
fn wrap(out: &mut String, text: &str, width: usize) {
    for part in folded(text, width.saturating_sub(2)) {
        line(out, format_args!("  {part}"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_document_is_in_step() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RULES.md");
        let wanted = rules_markdown();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(present == wanted, "docs/RULES.md differs: UPDATE=1 cargo test rules_document writes it");
    }

    #[test]
    fn text_holds_everything_in_its_columns() {
        for rule in rules() {
            let text = rule_text(rule, None);
            for part in [rule.id, rule.slug, rule.name, "Condition", "What to do"] {
                assert!(text.contains(part), "{}: {part}", rule.id);
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{}", rule.id);
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains(rule.description) && flat.contains(rule.remedy), "{}", rule.id);
            for width in [40, 70] {
                let text = rule_text(rule, Some(width));
                let (head, rest) = text.split_once("\nCondition\n").unwrap();
                assert!(rest.lines().all(|line| line.chars().count() <= width), "{} {width}", rule.id);
                assert!(head.contains(rule.name) && rest.split_whitespace().count() > 20);
                assert!(rules_table(Some(width)).lines().all(|line| line.chars().count() <= width));
            }
            assert_eq!(rule_text(rule, Some(1_000)), rule_text(rule, None));
            assert!(rules_table(None).contains(rule.id) && rules_markdown().contains(&format!("### {}\n", rule.id)));
        }
    }

    #[test]
    fn durations_take_the_largest_unit() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (900, "15m"), (3_600, "1h"), (86_400, "1d"), (90_000, "25h")] {
            assert_eq!(duration_text(seconds), text);
        }
    }
}
