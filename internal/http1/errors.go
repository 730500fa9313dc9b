package http1

// Error is what is wrong with a message. It is a constant: comparable, and it
// holds none of the peer's bytes. The zero value is no error this package
// returns.
type Error uint8

// What is wrong with a start line.
const (
	ErrTLS Error = iota + 1
	ErrHTTP2
	ErrEmptyLines
	ErrMethod
	ErrMethodLength
	ErrRequestLine
	ErrVersion
	ErrTarget
	ErrTargetForm
	ErrTargetFragment
	ErrTargetUserinfo
	ErrTargetEscape
	ErrTargetAuthority
	ErrTargetAsterisk
	ErrTargetConnect
	ErrTargetLength
	ErrStatusLine
	ErrStatusCode
	ErrReason

	// What is wrong with the lines of a head or a trailer section.

	ErrBareLF
	ErrBareCR
	ErrLeadingSpace
	ErrObsFold
	ErrFieldName
	ErrFieldSpace
	ErrFieldColon
	ErrFieldValue
	ErrFieldCount
	ErrHeadBytes

	// What is wrong with the fields a proxy must understand.

	ErrHostMissing
	ErrHostRepeated
	ErrHostSyntax
	ErrLengthSyntax
	ErrLengthRange
	ErrLengthRepeated
	ErrLengthForbidden
	ErrCodingSyntax
	ErrCodingRepeated
	ErrCodingOrder
	ErrCodingUnknown
	ErrCodingVersion
	ErrCodingForbidden
	ErrLengthAndCoding
	ErrConnectBody
	ErrConnectionSyntax
	ErrConnectionOptions
	ErrUpgradeSyntax
	ErrTrailerSyntax
	ErrTrailerName

	// What is wrong with a chunked body.

	ErrChunkSize
	ErrChunkRange
	ErrChunkExtension
	ErrChunkLine
	ErrChunkOverhead
	ErrChunkEnd

	numErrors
)

var errorTable = [numErrors]struct {
	status             int
	code, why, section string
}{
	ErrTLS:             {400, "tls", "the client speaks TLS where plain HTTP is expected", "RFC 9112, section 3"},
	ErrHTTP2:           {400, "http2", "HTTP/2 is not spoken here; use HTTP/1.1", "RFC 9113, section 3.4"},
	ErrEmptyLines:      {400, "empty-lines", "more than one empty line stands before the request", "RFC 9112, section 2.2"},
	ErrMethod:          {400, "method", "the request does not begin with a method", "RFC 9112, section 3.1"},
	ErrMethodLength:    {501, "method-length", "the method is longer than any there is", "RFC 9112, section 3"},
	ErrRequestLine:     {400, "request-line", "the request line is not a method, a target and a version with one space between them", "RFC 9112, section 3"},
	ErrVersion:         {400, "version", "the version is neither HTTP/1.1 nor HTTP/1.0", "RFC 9112, section 2.3"},
	ErrTarget:          {400, "target", "the request target has a character that must be percent-encoded", "RFC 9112, section 3.2"},
	ErrTargetForm:      {400, "target-form", "the request target is neither a path nor a whole URL", "RFC 9112, section 3.2"},
	ErrTargetFragment:  {400, "target-fragment", "the request target has a fragment, which never leaves a client", "RFC 9112, section 3.2"},
	ErrTargetUserinfo:  {400, "target-userinfo", "the request target has a user name in it", "RFC 9110, section 4.2.4"},
	ErrTargetEscape:    {400, "target-escape", "the path has a percent sign or a backslash that encodes nothing", "RFC 3986, sections 2.1 and 3.3"},
	ErrTargetAuthority: {400, "target-authority", "the request target names no valid host and port", "RFC 3986, section 3.2"},
	ErrTargetAsterisk:  {400, "target-asterisk", "the request target * belongs to OPTIONS alone", "RFC 9112, section 3.2.4"},
	ErrTargetConnect:   {400, "target-connect", "a CONNECT request names host:port, and nothing else", "RFC 9112, section 3.2.3"},
	ErrTargetLength:    {414, "target-length", "the request line is longer than this gate accepts", "RFC 9112, section 3"},
	ErrStatusLine:      {400, "status-line", "the status line is not a version, a status code and a reason with one space between them", "RFC 9112, section 4"},
	ErrStatusCode:      {400, "status-code", "the status code is not a number from 100 to 599", "RFC 9110, section 15"},
	ErrReason:          {400, "reason", "the reason phrase has a control character", "RFC 9112, section 4"},

	ErrBareLF:       {400, "bare-lf", "a line ends in LF without CR", "RFC 9112, section 2.2"},
	ErrBareCR:       {400, "bare-cr", "a CR stands without LF", "RFC 9112, section 2.2"},
	ErrLeadingSpace: {400, "leading-space", "white space stands before the first header field", "RFC 9112, section 2.2"},
	ErrObsFold:      {400, "obs-fold", "a header field is folded over two lines", "RFC 9112, section 5.2"},
	ErrFieldName:    {400, "field-name", "a header field's name is no token", "RFC 9110, section 5.1"},
	ErrFieldSpace:   {400, "field-space", "white space stands before a header field's colon", "RFC 9112, section 5.1"},
	ErrFieldColon:   {400, "field-colon", "a header field has no colon", "RFC 9112, section 5"},
	ErrFieldValue:   {400, "field-value", "a header field's value has a control character", "RFC 9110, section 5.5"},
	ErrFieldCount:   {431, "field-count", "there are more header fields than this gate accepts", "RFC 6585, section 5"},
	ErrHeadBytes:    {431, "head-bytes", "the header fields are longer than this gate accepts", "RFC 6585, section 5"},

	ErrHostMissing:       {400, "host-missing", "the request has no Host", "RFC 9112, section 3.2"},
	ErrHostRepeated:      {400, "host-repeated", "the request has more than one Host", "RFC 9112, section 3.2"},
	ErrHostSyntax:        {400, "host-syntax", "the Host field names no valid host and port", "RFC 9112, section 3.2"},
	ErrLengthSyntax:      {400, "length-syntax", "the Content-Length is not one number", "RFC 9110, section 8.6"},
	ErrLengthRange:       {400, "length-range", "the Content-Length is too large", "RFC 9110, section 8.6"},
	ErrLengthRepeated:    {400, "length-repeated", "there is more than one Content-Length", "RFC 9112, section 6.3"},
	ErrLengthForbidden:   {400, "length-forbidden", "an answer that has no body has a Content-Length", "RFC 9110, section 8.6"},
	ErrCodingSyntax:      {400, "coding-syntax", "the Transfer-Encoding is no list of codings", "RFC 9112, section 6.1"},
	ErrCodingRepeated:    {400, "coding-repeated", "chunked is applied more than once, or there is more than one Transfer-Encoding", "RFC 9112, section 6.1"},
	ErrCodingOrder:       {400, "coding-order", "chunked is not the last transfer coding", "RFC 9112, section 6.3"},
	ErrCodingUnknown:     {501, "coding-unknown", "the only transfer coding understood here is chunked", "RFC 9112, section 6.1"},
	ErrCodingVersion:     {400, "coding-version", "Transfer-Encoding does not exist in HTTP/1.0", "RFC 9112, section 6.1"},
	ErrCodingForbidden:   {400, "coding-forbidden", "an answer that has no body has a Transfer-Encoding", "RFC 9112, section 6.1"},
	ErrLengthAndCoding:   {400, "length-and-coding", "there are both a Transfer-Encoding and a Content-Length", "RFC 9112, section 6.3"},
	ErrConnectBody:       {400, "connect-body", "a CONNECT request has no body", "RFC 9110, section 9.3.6"},
	ErrConnectionSyntax:  {400, "connection-syntax", "the Connection field is no list of tokens", "RFC 9110, section 7.6.1"},
	ErrConnectionOptions: {400, "connection-options", "the Connection field names more options than this gate accepts", "RFC 9110, section 7.6.1"},
	ErrUpgradeSyntax:     {400, "upgrade-syntax", "the Upgrade field is not one list of protocols", "RFC 9110, section 7.8"},
	ErrTrailerSyntax:     {400, "trailer-syntax", "the Trailer field is no list of field names", "RFC 9110, section 6.6.2"},
	ErrTrailerName:       {400, "trailer-name", "a field that must come before the body is among the trailers", "RFC 9110, section 6.5.1"},

	ErrChunkSize:      {400, "chunk-size", "a chunk does not begin with its size in hexadecimal digits", "RFC 9112, section 7.1"},
	ErrChunkRange:     {400, "chunk-range", "a chunk's size is too large", "RFC 9112, section 7.1"},
	ErrChunkExtension: {400, "chunk-extension", "a chunk's extension is malformed", "RFC 9112, section 7.1.1"},
	ErrChunkLine:      {400, "chunk-line", "a chunk's extensions are longer than this gate accepts", "RFC 9112, section 7.1.1"},
	ErrChunkOverhead:  {400, "chunk-overhead", "the chunks hold more extensions than data", "RFC 9112, section 7.1.1"},
	ErrChunkEnd:       {400, "chunk-end", "a chunk's data does not end in CR LF where its size says", "RFC 9112, section 7.1"},
}

// Status is what a client is answered with: 400, 414, 431 or 501. For what is
// wrong with an origin's answer it says nothing: the gate's client gets a 502.
func (e Error) Status() int { return errorTable[e].status }

// Code is a short name for logs and tests, such as "bare-lf".
func (e Error) Code() string { return errorTable[e].code }

// Section is the passage of the standard that the message offends.
func (e Error) Section() string { return errorTable[e].section }

// Error says what is wrong, for whoever sent it.
func (e Error) Error() string { return errorTable[e].why + " (" + errorTable[e].section + ")" }
