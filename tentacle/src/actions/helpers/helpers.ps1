$ErrorActionPreference = 'Stop'
try { [Console]::OutputEncoding = [Text.UTF8Encoding]::new($false) } catch { }
function __Mantle-Text([string]$data) { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($data)) }
function __Mantle-Data([string]$text) { [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($text)) }
function __Mantle-Line([string]$line) { [Console]::Out.WriteLine($line); [Console]::Out.Flush() }
function __Mantle-Say([string]$message) { __Mantle-Line "##mantle[@KEY@ $message]" }
$OctopusParameters = New-Object 'System.Collections.Generic.Dictionary[String,String]' ([StringComparer]::OrdinalIgnoreCase)
foreach ($line in @'
@PAIRS@
'@ -split "`n") {
    $pair = $line.Trim() -split ' ', 2
    if ($pair.Length -eq 2) {
        $name = __Mantle-Text $pair[0]
        if (-not $OctopusParameters.ContainsKey($name)) { $OctopusParameters[$name] = __Mantle-Text $pair[1] }
    } elseif ($pair[0]) { $OctopusParameters[(__Mantle-Text $pair[0])] = '' }
}
$MantleVariables = $OctopusParameters
$__mantle_withheld = New-Object 'System.Collections.Generic.HashSet[String]' ([StringComparer]::OrdinalIgnoreCase)
foreach ($line in @'
@WITHHELD@
'@ -split "`n") { if ($line.Trim()) { [void]$__mantle_withheld.Add((__Mantle-Text $line.Trim())) } }
function Get-OctopusVariable([string]$Name) {
    if ($__mantle_withheld.Contains($Name)) {
        $why = "'$Name' is a secret, or reaches one, that this action was not given; name it under secrets: of the action"
        __Mantle-Say "resultMessage message='$(__Mantle-Data $why)'"
        throw $why
    }
    if ($OctopusParameters.ContainsKey($Name)) { $OctopusParameters[$Name] } else { '' }
}
function Set-OctopusVariable([string]$Name, [string]$Value, [switch]$Sensitive) {
    $tail = if ($Sensitive) { " sensitive='$(__Mantle-Data 'True')'" } else { '' }
    __Mantle-Say "setVariable name='$(__Mantle-Data $Name)' value='$(__Mantle-Data $Value)'$tail"
}
function New-OctopusArtifact([string]$Path, [string]$Name) {
    $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
    if (-not [IO.File]::Exists($full)) { Write-Verbose "there is no file '$full' yet; it is collected when the step is over" }
    if (-not $Name) { $Name = [IO.Path]::GetFileName($full) }
    __Mantle-Say "createArtifact path='$(__Mantle-Data $full)' name='$(__Mantle-Data $Name)'"
}
function Update-Progress([int]$Percentage, [string]$Message) {
    __Mantle-Say "progress percentage='$(__Mantle-Data $Percentage)' message='$(__Mantle-Data $Message)'"
}
function Fail-Step([string]$Message) {
    if ($Message) { __Mantle-Say "resultMessage message='$(__Mantle-Data $Message)'" }
    exit 1
}
function __Mantle-Write([string]$Level, [string]$Text) {
    __Mantle-Say "stdout-$Level"; __Mantle-Line $Text; __Mantle-Say 'stdout-default'
}
function Write-Verbose([Parameter(ValueFromPipeline = $true)][string]$Message) { process { __Mantle-Write 'verbose' $Message } }
function Write-Highlight([Parameter(ValueFromPipeline = $true)][string]$Message) { process { __Mantle-Write 'highlight' $Message } }
function Write-Wait([Parameter(ValueFromPipeline = $true)][string]$Message) { process { __Mantle-Write 'wait' $Message } }
function Write-Warning([Parameter(ValueFromPipeline = $true)][string]$Message) { process { __Mantle-Write 'warning' $Message } }
Set-Alias Get-MantleVariable Get-OctopusVariable
Set-Alias Set-MantleVariable Set-OctopusVariable
Set-Alias New-MantleArtifact New-OctopusArtifact
$__mantle_script = __Mantle-Text '@SCRIPT@'
$global:LASTEXITCODE = 0
try { . $__mantle_script @args } catch {
    [Console]::Error.WriteLine(($_ | Out-String).TrimEnd())
    exit 1
}
exit $LASTEXITCODE
