# Looks on a real Windows at what no test of Mantle can see there; docs/verification.md lists it.
#
#   .\verify.ps1 -Agent .\tentacle.exe [-Msi .\tentacle-0.1.0-x64.msi]
#
# In Windows PowerShell 5.1 as an administrator, on a machine that may be changed. It makes a service
# "tentacle-verify" with data in a folder of its own, and removes both; an agent of the machine is let alone. Each
# line says ok or FAILED; the exit code is the number of those that failed.
param(
    [Parameter(Mandatory = $true)][string]$Agent,
    [string]$Msi
)
$ErrorActionPreference = 'Stop'
$agentPath = (Resolve-Path $Agent).Path
$name = 'tentacle-verify'
$data = Join-Path $env:ProgramData 'tentacle verify'
$work = Join-Path $env:TEMP 'tentacle-verify'
$key = "HKLM:\SYSTEM\CurrentControlSet\Services\$name"
$source = "HKLM:\SYSTEM\CurrentControlSet\Services\EventLog\Application\$name"
$script:failed = 0

function Test-That([string]$what, [scriptblock]$check) {
    try {
        $said = & $check
        if ($said -eq $true) { Write-Output "ok      $what"; return }
        Write-Output "FAILED  $what ($said)"
    } catch {
        Write-Output "FAILED  $what ($_)"
    }
    $script:failed += 1
}

# Runs the agent; gives what it said. Its errors are no errors of PowerShell.
function Invoke-Agent {
    $ErrorActionPreference = 'Continue'
    & $agentPath --data $data @args 2>&1 | ForEach-Object { "$_" }
}

# Carries an action out, as 'tentacle try' does it.
function Invoke-Action([string]$yaml) {
    $file = Join-Path $work 'action.yaml'
    [IO.File]::WriteAllText($file, $yaml)
    Invoke-Agent try $file
}

New-Item -ItemType Directory -Force $work | Out-Null
Test-That 'the agent runs' { Invoke-Agent --version | Out-Null; $LASTEXITCODE -eq 0 }
Test-That 'doctor finds Windows PowerShell' { "$(Invoke-Agent doctor)" -match 'shell powershell' }

Test-That 'the service is installed' { $said = Invoke-Agent service install --unit $name; if ($LASTEXITCODE -eq 0) { $true } else { "$said" } }
Test-That 'nothing of it was left out' { -not ("$(Invoke-Agent service install --unit $name)" -match 'not implemented') }
Test-That 'it starts delayed, with the machine' { $at = Get-ItemProperty $key; ($at.Start -eq 2) -and ($at.DelayedAutostart -eq 1) }
Test-That 'it is started again when it fails' { ([regex]::Matches("$(sc.exe qfailure $name)", 'RESTART')).Count -eq 3 }
Test-That 'also when it says itself that it failed' { "$(sc.exe qfailureflag $name)" -match ': +1|TRUE' }
Test-That 'the event log knows it' { (Get-ItemProperty $source).CustomSource -eq 1 }
Test-That 'its data is for the system and administrators alone' {
    $sids = (Get-Acl $data).Access | ForEach-Object { $_.IdentityReference.Translate([Security.Principal.SecurityIdentifier]).Value }
    $others = @($sids | Where-Object { @('S-1-5-18', 'S-1-5-32-544') -notcontains $_ })
    ((Get-Acl $data).AreAccessRulesProtected) -and ($others.Count -eq 0)
}
Test-That 'it does not start before the machine has joined' { Invoke-Agent service start --unit $name | Out-Null; $LASTEXITCODE -eq 6 }
Test-That 'the service control manager hears why it does not run' {
    # Past the agent's own refusal: it starts, finds no identity, and ends with its own error 5.
    sc.exe start $name | Out-Null
    for ($i = 0; ($i -lt 100) -and ((Get-Service $name).Status -ne 'Stopped'); $i++) { Start-Sleep -Milliseconds 100 }
    "$(sc.exe query $name)" -match '1066'
}
Test-That 'the event log says so' {
    for ($i = 0; $i -lt 100; $i++) {
        if (Get-EventLog -LogName Application -Source $name -EntryType Error -Newest 1 -ErrorAction SilentlyContinue) { return $true }
        Start-Sleep -Milliseconds 100
    }
    'no entry came'
}
Test-That 'it is removed' { Invoke-Agent service uninstall --unit $name | Out-Null; -not (Test-Path $key) -and -not (Test-Path $source) }

Test-That 'a script of Windows PowerShell has its functions and its exit code' {
    $said = Invoke-Action "- action: Say`n  uses: script`n  with: { shell: powershell, run: 'Set-OctopusVariable Color blue; exit 7' }`n"
    ("$said" -match 'Color') -and ($LASTEXITCODE -eq 3) -and ("$said" -match '7')
}
Test-That 'a service of Windows is stopped and started' {
    $said = Invoke-Action "- action: Turn`n  uses: service`n  with: { name: Spooler, state: restarted }`n"
    if ($LASTEXITCODE -eq 0) { $true } else { "$said" }
}
Test-That 'files with paths over 260 characters are written' {
    $deep = '\\?\' + (Join-Path $work (('x' * 100) + '\' + ('y' * 100) + '\' + ('z' * 100)))
    [IO.Directory]::CreateDirectory($deep) | Out-Null
    [IO.File]::WriteAllText("$deep\a.json", '{"Color":"red"}')
    [IO.File]::WriteAllText("$work\variables.json", '{"Color":"blue"}')
    Invoke-Agent config apply --format json --variables "$work\variables.json" "$deep\a.json" | Out-Null
    [IO.File]::ReadAllText("$deep\a.json") -match 'blue'
}

if ($Msi) {
    $package = (Resolve-Path $Msi).Path
    $installed = Join-Path $env:ProgramFiles 'Mantle\tentacle.exe'
    Test-That 'the MSI installs' { (Start-Process msiexec -ArgumentList "/i `"$package`" /qn" -Wait -PassThru).ExitCode -eq 0 }
    Test-That 'the program is there' { Test-Path $installed }
    Test-That 'the MSI is removed' { (Start-Process msiexec -ArgumentList "/x `"$package`" /qn" -Wait -PassThru).ExitCode -eq 0 }
    Test-That 'the program is gone' { -not (Test-Path $installed) }
}

Remove-Item -Recurse -Force "\\?\$work" -ErrorAction SilentlyContinue
Remove-Item -Recurse -Force $data -ErrorAction SilentlyContinue
Write-Output "$script:failed failed"
exit $script:failed
