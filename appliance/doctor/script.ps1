# Checks from this Windows machine what "gatehouse doctor" checks from the gate.
#
# Made {{.Made}} by gatehouse {{.Version}} for the rules in force then.
# It needs Windows PowerShell 5.1 and no module, and changes nothing. Run it on
# the server with the agents, best as the account that their services use:
#
#   powershell -NoProfile -ExecutionPolicy Bypass -File check.ps1
#
# Name the gate's address where the one below is wrong: -Gate 10.20.0.1

param(
    [string] $Gate = '{{.Gate}}',
    [int] $ProxyPort = {{.ProxyPort}},
    [int] $DnsPort = {{.DNSPort}},
    [int] $Seconds = 10
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
$script:Failed = 0

# What the rules permit: a host, a port, and what is spoken there.
$Places = @({{range $i, $p := .Places}}{{if $i}},{{end}}
    @{ Host = {{quote $p.Host}}; Port = {{$p.Port}}; Speaks = {{quote $p.Speaks}}; Path = {{quote $p.Path}} }{{end}}
)

function Say([string] $State, [string] $What, [string] $Text) {
    if ($State -eq 'FAILED') { $script:Failed++ }
    Write-Output ('{0,-6} {1}: {2}' -f $State, $What, $Text)
}

# The innermost error says why; those around it say where.
function Why($Problem) {
    $e = $Problem.Exception
    while ($null -ne $e.InnerException) { $e = $e.InnerException }
    return $e.Message
}

# A TCP connection within the time, or an error.
function Connect-Tcp([string] $To, [int] $Port) {
    $client = New-Object Net.Sockets.TcpClient
    $pending = $client.BeginConnect($To, $Port, $null, $null)
    if (-not $pending.AsyncWaitHandle.WaitOne($Seconds * 1000)) {
        $client.Close()
        throw "no answer within $Seconds seconds: it is dropped on the way"
    }
    try { $client.EndConnect($pending) } catch { $client.Close(); throw }
    $client.ReceiveTimeout = $Seconds * 1000
    $client.SendTimeout = $Seconds * 1000
    return $client
}

# Asks the gate's DNS filter for the IPv4 addresses of a name (RFC 1035, section 4).
function Ask-Dns([string] $Name) {
    $question = New-Object Collections.Generic.List[byte]
    $question.AddRange([byte[]] (0x47, 0x48, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    foreach ($label in $Name.Split('.')) {
        $question.Add([byte] $label.Length)
        $question.AddRange([Text.Encoding]::ASCII.GetBytes($label))
    }
    $question.AddRange([byte[]] (0, 0, 1, 0, 1))
    $udp = New-Object Net.Sockets.UdpClient
    try {
        $udp.Client.ReceiveTimeout = $Seconds * 1000
        $udp.Connect($Gate, $DnsPort)
        [void] $udp.Send($question.ToArray(), $question.Count)
        $from = New-Object Net.IPEndPoint([Net.IPAddress]::Any, 0)
        $reply = $udp.Receive([ref] $from)
    } finally { $udp.Close() }
    if ($reply.Length -lt 12) { throw 'the answer is no DNS message' }
    $code = $reply[3] -band 15
    if ($code -eq 3) { throw 'NXDOMAIN: no rule lists the name for this machine, or it does not exist' }
    if ($code -eq 5) { throw 'REFUSED: no rule names this machine as a client' }
    if ($code -ne 0) { throw "the answer has the code $code" }
    $at = $question.Count
    $found = @()
    $records = 256 * $reply[6] + $reply[7]
    for ($i = 0; $i -lt $records; $i++) {
        while ($reply[$at] -ne 0 -and $reply[$at] -lt 192) { $at += 1 + $reply[$at] }
        if ($reply[$at] -ge 192) { $at += 2 } else { $at += 1 }
        $type = 256 * $reply[$at] + $reply[$at + 1]
        $length = 256 * $reply[$at + 8] + $reply[$at + 9]
        if ($type -eq 1 -and $length -eq 4) {
            $found += ($reply[($at + 10)..($at + 13)] -join '.')
        }
        $at += 10 + $length
    }
    if ($found.Count -eq 0) { throw 'no address: where it leads is not permitted, see gatehouse explain' }
    return $found -join ', '
}

# Reads the head of an answer, up to the empty line.
function Read-Head($Stream) {
    $text = ''
    while (-not $text.EndsWith("`r`n`r`n")) {
        $b = $Stream.ReadByte()
        if ($b -lt 0) { throw "the connection ended after '$text'" }
        $text += [char] $b
        if ($text.Length -gt 16384) { throw 'the head of the answer has no end' }
    }
    return $text
}

# Opens a tunnel through the gate, and TLS in it; says who issued the certificate.
function Test-Tls([string] $To, [int] $Port) {
    $client = Connect-Tcp $Gate $ProxyPort
    try {
        $stream = $client.GetStream()
        $ask = [Text.Encoding]::ASCII.GetBytes("CONNECT ${To}:${Port} HTTP/1.1`r`nHost: ${To}:${Port}`r`n`r`n")
        $stream.Write($ask, 0, $ask.Length)
        $head = Read-Head $stream
        if ($head -notmatch '^HTTP/1\.[01] 200 ') {
            $id = ''
            if ($head -match '(?im)^X-Gatehouse-Decision: *(\S+)') { $id = ', gatehouse explain ' + $Matches[1] }
            throw ('the gate refuses: ' + ($head -split "`r`n")[0] + $id)
        }
        $script:Errors = 'None'
        $check = [Net.Security.RemoteCertificateValidationCallback] {
            param($sender, $certificate, $chain, $errors)
            $script:Errors = "$errors"
            return $true
        }
        $tls = New-Object Net.Security.SslStream($stream, $false, $check)
        $tls.AuthenticateAsClient($To, $null, [Security.Authentication.SslProtocols]::Tls12, $false)
        $seen = New-Object Security.Cryptography.X509Certificates.X509Certificate2($tls.RemoteCertificate)
        $text = "issued by '$($seen.Issuer)', until $($seen.NotAfter.ToString('yyyy-MM-dd'))"
        if ($script:Errors -ne 'None') { throw "$text, and this machine does not trust it: $script:Errors" }
        return $text
    } finally { $client.Close() }
}

# Asks for a page through the gate. Any answer of the host will do.
function Get-Page([string] $Url) {
    $request = [Net.HttpWebRequest] [Net.WebRequest]::Create($Url)
    $request.Proxy = New-Object Net.WebProxy($Gate, $ProxyPort)
    $request.Timeout = $Seconds * 1000
    $request.AllowAutoRedirect = $false
    $request.UserAgent = 'gatehouse-check'
    try { $answer = $request.GetResponse() } catch {
        # 403 and its like are errors to .NET; the answer is in the one inside.
        $e = $_.Exception
        while ($null -ne $e -and $e -isnot [Net.WebException]) { $e = $e.InnerException }
        if ($null -eq $e -or $null -eq $e.Response) { throw }
        $answer = $e.Response
    }
    try {
        $id = $answer.Headers['X-Gatehouse-Decision']
        if ($id) { throw "the gate refuses ($([int] $answer.StatusCode)), gatehouse explain $id" }
        if ($answer.Headers['Date']) {
            $theirs = [DateTime]::Parse($answer.Headers['Date'], [Globalization.CultureInfo]::InvariantCulture).ToUniversalTime()
            $script:Skew = [Math]::Round(([DateTime]::UtcNow - $theirs).TotalSeconds)
        }
        return "answers $([int] $answer.StatusCode)"
    } finally { $answer.Close() }
}

function Try-It([string] $What, [scriptblock] $Do, [string] $Else = 'FAILED') {
    try { Say 'ok' $What (& $Do) } catch { Say $Else $What (Why $_) }
}

Write-Output ''
Write-Output 'This machine and its proxy settings'
Say 'ok' 'machine' "$env:COMPUTERNAME, $([Environment]::OSVersion.VersionString), as $env:USERDOMAIN\$env:USERNAME"
Try-It '.NET Framework' {
    $release = (Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full').Release
    # 379893 is 4.5.2, 394802 is 4.6.2; Xporter needs the first and recommends the second.
    if ($release -lt 379893) { throw "release $release is older than 4.5.2" }
    "release $release" + $(if ($release -lt 394802) { ', older than the recommended 4.6.2' })
}
Try-It 'WinHTTP (Windows Update, certificate checks)' { ((netsh winhttp show proxy) -join ' ').Trim() -replace '\s+', ' ' }
foreach ($hive in @('HKCU:', 'Registry::HKEY_USERS\S-1-5-18')) {
    Try-It "Internet settings of $hive" {
        $key = Get-ItemProperty "$hive\Software\Microsoft\Windows\CurrentVersion\Internet Settings"
        $text = @()
        foreach ($name in 'ProxyEnable', 'ProxyServer', 'ProxyOverride', 'AutoConfigURL') {
            if ($key.PSObject.Properties[$name]) { $text += "$name=$($key.$name)" }
        }
        if ($text.Count -eq 0) { 'no proxy' } else { $text -join ' ' }
    }
}
Try-It '.NET defaultProxy in machine.config' {
    $file = [Runtime.InteropServices.RuntimeEnvironment]::SystemConfigurationFile
    $found = Select-String -Path $file -Pattern '<defaultProxy|proxyaddress' | ForEach-Object { $_.Line.Trim() }
    if ($found) { $found -join ' ' } else { 'none: Internet settings hold' }
}
foreach ($place in $Places | Where-Object { $_.Speaks -ne 'tcp' }) {
    $url = $place.Speaks + '://' + $place.Host + '/'
    if ($place.Speaks -eq 'tls') { $url = 'https://' + $place.Host + '/' }
    Try-It ".NET's way to $url" {
        $by = [Net.WebRequest]::DefaultWebProxy.GetProxy($url)
        if ("$by" -eq $url) { 'directly, past the gate' } else { "by $by" }
    }
}

Write-Output ''
Write-Output "Names, from the gate ($Gate port $DnsPort) and from Windows"
foreach ($name in $Places | ForEach-Object { $_.Host } | Sort-Object -Unique) {
    Try-It "$name from the gate" { Ask-Dns $name }
    Try-It "$name from Windows" { ([Net.Dns]::GetHostAddresses($name) | ForEach-Object { "$_" }) -join ', ' }
}

Write-Output ''
Write-Output "Through the gate's proxy ($Gate port $ProxyPort)"
$script:Skew = $null
foreach ($place in $Places) {
    $where = "$($place.Host):$($place.Port)"
    if ($place.Speaks -eq 'tls') {
        Try-It "$where TLS" { Test-Tls $place.Host $place.Port }
    }
    if ($place.Speaks -eq 'tls' -and $place.Port -eq 443) {
        Try-It "$where GET" { Get-Page ('https://' + $place.Host + $place.Path) }
    }
    if ($place.Speaks -eq 'http') {
        Try-It "$where GET" { Get-Page ('http://' + $where + $place.Path) }
    }
}
if ($null -ne $script:Skew) {
    Try-It 'clock' {
        if ([Math]::Abs($script:Skew) -gt 120) { throw "$script:Skew seconds off: w32tm /resync" }
        "within $([Math]::Abs($script:Skew)) seconds"
    }
}

Write-Output ''
Write-Output 'Past the proxy, as agents go that know none: no fault where they all use the proxy'
foreach ($place in $Places | Where-Object { $_.Speaks -ne 'http' }) {
    Try-It "$($place.Host):$($place.Port) TCP" {
        $client = Connect-Tcp $place.Host $place.Port
        $client.Close()
        'answers'
    } 'LOOK'
}

Write-Output ''
Write-Output "$script:Failed failed"
if ($script:Failed -gt 0) { exit 1 }
