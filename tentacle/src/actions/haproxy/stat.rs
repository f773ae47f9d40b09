//! The table that `show stat` prints: comma-separated, with a header line.

/// A server's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) backend: String,
    pub(super) server: String,
    pub(super) backend_id: u32,
    pub(super) server_id: u32,
    pub(super) sessions: u64,
    pub(super) queued: u64,
    pub(super) status: Status,
    /// As HAProxy says it.
    pub(super) status_text: String,
    /// What the last health check found, such as `L4CON`.
    pub(super) check: String,
    /// The same in words.
    pub(super) check_text: String,
}

/// How HAProxy treats a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Healthy and in use.
    Up,
    /// Not healthy, or on its way up: `DOWN 1/2`.
    Down,
    /// Still in use, on its way down: `UP 2/3`.
    Failing,
    /// In use; nobody checks its health.
    NoCheck,
    /// Gets no new sessions.
    Drain,
    /// Gets nothing.
    Maintenance,
    /// Something that this version does not know.
    Other,
}

impl Row {
    /// Its state with the reason, for people.
    pub(super) fn health(&self) -> String {
        match (self.check.as_str(), self.check_text.as_str()) {
            ("", _) => self.status_text.clone(),
            (check, "") => format!("{} (check: {check})", self.status_text),
            (check, text) => format!("{} (check: {check}, {text})", self.status_text),
        }
    }
}

fn status(text: &str) -> Status {
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["UP"] => Status::Up,
        ["UP", ..] => Status::Failing,
        ["DOWN" | "NOLB", ..] => Status::Down,
        ["no", "check"] => Status::NoCheck,
        ["DRAIN", ..] => Status::Drain,
        ["MAINT", ..] => Status::Maintenance,
        _ => Status::Other,
    }
}

/// Reads the table; lines that are no servers or backends, or are damaged, are left out.
pub(super) fn parse(answer: &str) -> Vec<Row> {
    let mut lines = answer.lines();
    let Some(header) = lines.find(|line| line.starts_with("# ")) else {
        return Vec::new();
    };
    let columns: Vec<_> = split(header.trim_start_matches("# "));
    lines
        .filter_map(|line| {
            let cells = split(line);
            let cell = |name: &str| {
                let at = columns.iter().position(|column| column == name)?;
                cells.get(at).map(String::as_str)
            };
            Some(Row {
                backend: cell("pxname").filter(|name| !name.is_empty())?.to_owned(),
                server: cell("svname")?.to_owned(),
                backend_id: cell("iid")?.parse().ok()?,
                server_id: cell("sid")?.parse().ok()?,
                sessions: cell("scur")?.parse().unwrap_or_default(),
                queued: cell("qcur")?.parse().unwrap_or_default(),
                status: status(cell("status")?),
                status_text: cell("status")?.to_owned(),
                check: cell("check_status").unwrap_or_default().to_owned(),
                check_text: cell("last_chk").unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// One line's cells; a cell in quotes may hold commas, and doubled quotes.
fn split(line: &str) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

/// The line of one server; else what there is instead.
pub(super) fn find<'a>(rows: &'a [Row], backend: &str, server: &str) -> Result<&'a Row, String> {
    let is_total = |row: &Row| row.server == "BACKEND" || row.server == "FRONTEND";
    if let Some(row) = rows
        .iter()
        .find(|row| row.backend == backend && row.server == server && !is_total(row))
    {
        return Ok(row);
    }
    let list = |names: Vec<&str>| match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let mut backends: Vec<_> = rows
        .iter()
        .filter(|row| row.server == "BACKEND")
        .map(|row| row.backend.as_str())
        .collect();
    backends.dedup();
    if !rows.iter().any(|row| row.backend == backend) {
        return Err(format!(
            "HAProxy has no backend '{backend}'; it has: {}",
            list(backends)
        ));
    }
    let servers = rows
        .iter()
        .filter(|row| row.backend == backend && !is_total(row))
        .map(|row| row.server.as_str())
        .collect();
    Err(format!(
        "HAProxy's backend '{backend}' has no server '{server}'; it has: {}",
        list(servers)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# pxname,svname,qcur,qmax,scur,status,pid,iid,sid,check_status,last_chk,\n\
octofx,web01,1,2,3,UP,1,4,1,L7OK,\"HTTP status check returned code <200>, fine\",\n\
octofx,web02,0,0,0,DOWN 1/2,1,4,2,L4CON,Connection refused,\n\
octofx,BACKEND,0,0,3,UP,1,4,0,,,\n\
damaged\n\
other,BACKEND,0,0,0,UP,1,5,0,,,\n\n";

    #[test]
    fn the_table_is_read_by_its_header() {
        let rows = parse(TABLE);
        assert_eq!(rows.len(), 4);
        let row = find(&rows, "octofx", "web01").unwrap();
        assert_eq!((row.sessions, row.queued, row.status), (3, 1, Status::Up));
        assert_eq!((row.backend_id, row.server_id), (4, 1));
        assert!(row.health().contains("<200>, fine"));
        assert_eq!(rows[1].status, Status::Down);
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let rows = parse(TABLE);
        let error = find(&rows, "octofy", "web01").unwrap_err();
        assert_eq!(
            error,
            "HAProxy has no backend 'octofy'; it has: octofx, other"
        );
        let error = find(&rows, "octofx", "web9").unwrap_err();
        assert!(error.ends_with("it has: web01, web02"), "{error}");
        assert!(find(&rows, "octofx", "BACKEND").is_err());
        assert!(find(&parse(""), "a", "b").unwrap_err().ends_with("none"));
    }

    #[test]
    fn every_status_has_a_meaning() {
        for (text, expected) in [
            ("UP", Status::Up),
            ("UP 2/3", Status::Failing),
            ("DOWN", Status::Down),
            ("DOWN (agent)", Status::Down),
            ("DOWN 1/2", Status::Down),
            ("no check", Status::NoCheck),
            ("DRAIN", Status::Drain),
            ("DRAIN (agent)", Status::Drain),
            ("MAINT", Status::Maintenance),
            ("MAINT (via a/b)", Status::Maintenance),
            ("MAINT (resolution)", Status::Maintenance),
            ("???", Status::Other),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
    }
}
