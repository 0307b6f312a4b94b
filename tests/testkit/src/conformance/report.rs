//! What came of it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::Path;

use super::cases;
use crate::Carrier;

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was shown.
    Passed,
    /// The stack cannot do it, and what takes its place was shown.
    Instead {
        /// Why it cannot.
        reason: String,
        /// What was shown instead.
        recovery: String,
    },
    /// It was not shown, for this reason.
    Failed(String),
}

/// A case that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The case's name.
    pub case: String,
    /// What carried the requests.
    pub carrier: Carrier,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of the cases that one subject was put to: a column of the [`Matrix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The subject's name.
    pub subject: String,
    /// Its cases, in their order.
    pub rows: Vec<Row>,
}

impl Report {
    /// The cases that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Failed(why) => Some((row, &**why)),
            _ => None,
        })
    }

    /// The outcome of a case over a carrier, if it was run.
    #[must_use]
    pub fn outcome(&self, case: &str, carrier: Carrier) -> Option<&Outcome> {
        let row = |row: &&Row| row.case == case && row.carrier == carrier;
        self.rows.iter().find(row).map(|row| &row.outcome)
    }

    /// Fails the test unless there are cases, and every one passed, or was replaced.
    ///
    /// # Panics
    ///
    /// If a case failed: with the list of them. If there is none.
    pub fn assert(&self) {
        assert!(!self.rows.is_empty(), "{} was put to no case", self.subject);
        let failures: Vec<_> = self
            .failures()
            .map(|(row, why)| format!("\n  {} over {}: {why}", row.case, row.carrier))
            .collect();
        assert!(
            failures.is_empty(),
            "{} does not conform:{}",
            self.subject,
            failures.concat()
        );
    }

    /// Writes it to a file of its own in this directory, as tab-separated lines, for
    /// [`Matrix::read`] to find.
    ///
    /// # Errors
    ///
    /// What keeps it from being written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let mut lines = String::new();
        for row in &self.rows {
            let carrier = row.carrier.to_string();
            let outcome = match &row.outcome {
                Outcome::Passed => ["passed", "", ""],
                Outcome::Instead { reason, recovery } => ["instead", reason, recovery],
                Outcome::Failed(why) => ["failed", why, ""],
            };
            let fields = [&*row.case, &carrier, &self.subject]
                .into_iter()
                .chain(outcome);
            let fields: Vec<_> = fields
                .map(|field| field.replace(['\t', '\n', '\r'], " "))
                .collect();
            lines += &fields.join("\t");
            lines.push('\n');
        }
        fs::create_dir_all(directory)?;
        let name = self
            .subject
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        fs::write(directory.join(name).with_extension("tsv"), lines)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Matrix::from_iter([self.clone()]).fmt(f)
    }
}

/// Cases by subjects: the reports of several subjects side by side.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    reports: Vec<Report>,
}

impl FromIterator<Report> for Matrix {
    fn from_iter<I: IntoIterator<Item = Report>>(reports: I) -> Self {
        let mut reports: Vec<_> = reports.into_iter().collect();
        reports.sort_by(|a, b| a.subject.cmp(&b.subject));
        Self { reports }
    }
}

impl Matrix {
    /// Reads all reports that were written to this directory.
    ///
    /// # Errors
    ///
    /// Where they cannot be read, are none, or have no cases.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut reports: BTreeMap<String, Report> = BTreeMap::new();
        for file in fs::read_dir(directory)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "tsv") {
                continue;
            }
            let none = |words: &str| {
                let words = format!("{}: {words:?}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, words)
            };
            let text = fs::read_to_string(&path)?;
            if text.is_empty() {
                return Err(none(""));
            }
            for line in text.lines() {
                let (subject, row) = parse(line).ok_or_else(|| none(line))?;
                let report = reports.entry(subject.clone()).or_insert_with(|| Report {
                    subject,
                    rows: Vec::new(),
                });
                report.rows.push(row);
            }
        }
        Ok(reports.into_values().collect())
    }

    /// The reports, by their subjects' names.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Whether there are reports, each with cases, and none of these failed.
    #[must_use]
    pub fn is_green(&self) -> bool {
        let green = |report: &Report| !report.rows.is_empty() && report.failures().next().is_none();
        !self.reports.is_empty() && self.reports.iter().all(green)
    }

    /// Every case that was run for any subject, in the suite's order.
    fn lines(&self) -> Vec<(Carrier, &str)> {
        let known = |name: &str| cases().position(|case| case.name == name);
        let rows = self.reports.iter().flat_map(|report| &report.rows);
        let mut lines: Vec<_> = rows.map(|row| (row.carrier, &*row.case)).collect();
        lines.sort_by_key(|&(carrier, case)| (carrier, known(case).unwrap_or(usize::MAX), case));
        lines.dedup();
        lines
    }
}

fn parse(line: &str) -> Option<(String, Row)> {
    let mut fields = line.split('\t').map(str::to_owned);
    let mut next = || fields.next();
    let (case, carrier, subject) = (next()?, next()?, next()?);
    let carriers = Carrier::ALL.into_iter();
    let carrier = carriers
        .into_iter()
        .find(|known| known.to_string() == carrier)?;
    let (outcome, why, recovery) = (next()?, next()?, next()?);
    let outcome = match &*outcome {
        "passed" => Outcome::Passed,
        "instead" => Outcome::Instead {
            reason: why,
            recovery,
        },
        "failed" => Outcome::Failed(why),
        _ => return None,
    };
    let row = Row {
        case,
        carrier,
        outcome,
    };
    Some((subject, row))
}

/// The notes under a matrix, each once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, words: String) -> usize {
        let at = self.0.iter().position(|note| *note == words);
        at.unwrap_or_else(|| {
            self.0.push(words);
            self.0.len() - 1
        }) + 1
    }

    fn cell(&mut self, outcome: Option<&Outcome>) -> String {
        match outcome {
            None => "-".to_owned(),
            Some(Outcome::Passed) => "ok".to_owned(),
            Some(Outcome::Instead { reason, recovery }) => {
                let note = self.number(format!("{reason}; instead: {recovery}"));
                format!("instead [{note}]")
            }
            Some(Outcome::Failed(why)) => format!("FAILED [{}]", self.number(why.clone())),
        }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The narrowest column that holds every cell.
        const CELL: usize = 12;
        let lines = self.lines();
        let names = lines.iter().map(|(_, case)| case.chars().count());
        let first = names.chain([CELL]).max().unwrap_or(CELL);
        let mut header = format!("{:first$}  {:CELL$}", "case", "over");
        for Report { subject, .. } in &self.reports {
            write!(header, "  {subject:CELL$}")?;
        }
        writeln!(f, "{}", header.trim_end())?;
        let mut notes = Notes::default();
        for (carrier, case) in lines {
            let mut line = format!("{case:first$}  {carrier:CELL$}");
            for report in &self.reports {
                let cell = notes.cell(report.outcome(case, carrier));
                let width = report.subject.chars().count().max(CELL);
                write!(line, "  {cell:width$}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for (at, note) in notes.0.iter().enumerate() {
            writeln!(f, "[{}] {note}", at + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    fn report(subject: &str, outcomes: &[(&str, Outcome)]) -> Report {
        let row = |(case, outcome): &(&str, Outcome)| Row {
            case: (*case).to_owned(),
            carrier: Carrier::Http1Tls,
            outcome: outcome.clone(),
        };
        Report {
            subject: subject.to_owned(),
            rows: outcomes.iter().map(row).collect(),
        }
    }

    fn reports() -> [Report; 2] {
        let instead = Outcome::Instead {
            reason: "it cannot".to_owned(),
            recovery: "it asks".to_owned(),
        };
        let failed = Outcome::Failed("a\ttab".to_owned());
        [
            report("b", &[("redirects", Outcome::Passed), ("uploads", failed)]),
            report("a", &[("uploads", instead)]),
        ]
    }

    #[test]
    fn reports_stand_side_by_side() {
        let matrix = Matrix::from_iter(reports());
        let text = "\
case          over          a             b
redirects     http/1.1+tls  -             ok
uploads       http/1.1+tls  instead [1]   FAILED [2]
[1] it cannot; instead: it asks
[2] a\ttab
";
        assert_eq!(matrix.to_string(), text);
        assert!(!matrix.is_green());
        assert!(!Matrix::default().is_green());
        assert!(Matrix::from_iter([reports()[1].clone()]).is_green());
        let empty = report("c", &[]);
        assert!(!Matrix::from_iter([reports()[1].clone(), empty]).is_green());
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = env::temp_dir().join(format!("conformance-{}", std::process::id()));
        for report in reports() {
            report.write(&directory).unwrap();
        }
        let read = Matrix::read(&directory);
        report("c", &[]).write(&directory).unwrap();
        let empty = Matrix::read(&directory).map_err(|error| error.kind());
        assert_eq!(empty.unwrap_err(), io::ErrorKind::InvalidData);
        fs::remove_dir_all(&directory).unwrap();
        let text = Matrix::from_iter(reports()).to_string();
        assert_eq!(read.unwrap().to_string(), text.replace('\t', " "));
    }

    #[test]
    #[should_panic(expected = "b does not conform:\n  uploads over http/1.1+tls: a\ttab")]
    fn a_failed_case_fails_the_test() {
        reports()[0].assert();
    }

    #[test]
    #[should_panic(expected = "c was put to no case")]
    fn no_case_fails_the_test() {
        report("c", &[]).assert();
    }
}
