//! The line that an operator pastes on a machine: pure.
//!
//! What holds here: nothing of what stands in it can become another command, whatever a name or an
//! address holds.

use super::{Platform, Reached};

/// What the line is to do beside installing.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// The join token.
    pub token: &'a str,
    /// The target's name, where the token is good for this one alone.
    pub name: Option<&'a str>,
}

/// For a shell of Linux. curl ends it where the server's key is another one; an empty `sudo` is one that
/// is not there, as where root has no need of it.
pub fn linux(at: &Reached, joining: Joining<'_>) -> String {
    let url = sh_word(&format!("{}/install/agent.sh", at.url));
    let mut line = format!(
        "s=\"$(curl -fsSk --pinnedpubkey sha256//{} {url})\" && printf '%s\\n' \"$s\" | $(command -v sudo) sh -s -- --token {}",
        at.pin,
        sh_word(joining.token),
    );
    if let Some(name) = joining.name {
        line.push_str(" --name ");
        line.push_str(&sh_word(name));
    }
    line
}

/// For Windows PowerShell 5.1 as an administrator. The server's key and the program are known by their
/// digests; everything else is the program's.
pub fn windows(at: &Reached, joining: Joining<'_>, sha256: &str) -> String {
    let url = format!("{}/install/{}", at.url, Platform::WindowsX8664.file_name());
    let mut statements = vec![
        "$ErrorActionPreference='Stop'".to_owned(),
        "[Net.ServicePointManager]::SecurityProtocol='Tls12'".to_owned(),
        format!(
            "[Net.ServicePointManager]::ServerCertificateValidationCallback={{param($o,$c) [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($c.GetPublicKey())).Replace('-','') -eq {}}}",
            ps_word(&at.key_digest)
        ),
        "$d=(New-Item -ItemType Directory -Force \"$env:ProgramFiles\\Mantle\").FullName".to_owned(),
        "$n=\"$d\\tentacle.new\"".to_owned(),
        format!(
            "(New-Object Net.WebClient).DownloadFile({},$n)",
            ps_word(&url)
        ),
        format!(
            "if((Get-FileHash $n).Hash -ne {}){{Remove-Item $n; throw 'the program is not the one that the server announced; nothing was installed'}}",
            ps_word(sha256)
        ),
        // A program that runs can be renamed, but not replaced; what ran before and runs no more is removed.
        "Remove-Item \"$d\\tentacle.*.old\" -ErrorAction SilentlyContinue".to_owned(),
        "if(Test-Path \"$d\\tentacle.exe\"){Move-Item \"$d\\tentacle.exe\" \"$d\\tentacle.$(Get-Random).old\"}".to_owned(),
        "Move-Item $n \"$d\\tentacle.exe\"".to_owned(),
        format!("$env:TENTACLE_TOKEN={}", ps_word(joining.token)),
    ];
    let name = joining
        .name
        .map_or_else(String::new, |name| format!(" --name {}", ps_word(name)));
    statements.push(format!(
        "& \"$d\\tentacle.exe\" join --install --server {}{name}",
        ps_word(&at.server)
    ));
    statements.push("$env:TENTACLE_TOKEN=$null".to_owned());
    statements.join("; ")
}

/// One word of a POSIX shell.
pub(super) fn sh_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// One word of PowerShell, for which typographic quotation marks are quotation marks too.
fn ps_word(text: &str) -> String {
    let mut word = String::from("'");
    for c in text.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            word.push(c);
        }
        word.push(c);
    }
    word.push('\'');
    word
}
