package netflow

// Information elements that Weir reads (IANA "IP Flow Information Export Entities"; NetFlow v9 has the same numbers up to 127).
const (
	ieOctets            = 1
	iePackets           = 2
	ieProtocol          = 4
	ieTOS               = 5
	ieTCPFlags          = 6
	ieSourcePort        = 7
	ieSource4           = 8
	ieSourceMask4       = 9
	ieInput             = 10
	ieDestinationPort   = 11
	ieDestination4      = 12
	ieDestinationMask4  = 13
	ieOutput            = 14
	ieNextHop4          = 15
	ieSourceAS          = 16
	ieDestinationAS     = 17
	ieNextHopBGP4       = 18
	ieLastSwitched      = 21
	ieFirstSwitched     = 22
	iePostOctets        = 23
	iePostPackets       = 24
	ieSource6           = 27
	ieDestination6      = 28
	ieSourceMask6       = 29
	ieDestinationMask6  = 30
	ieSamplingInterval  = 34
	ieActiveTimeout     = 36
	ieInactiveTimeout   = 37
	ieSamplerID         = 48
	ieSamplerInterval   = 50
	ieTTLLeast          = 52
	ieVLAN              = 58
	ieIPVersion         = 60
	ieDirection         = 61
	ieNextHop6          = 62
	ieNextHopBGP6       = 63
	ieOctetsTotal       = 85
	iePacketsTotal      = 86
	ieFragmentOffset    = 88
	ieForwarding        = 89
	ieLayer2Offset      = 102
	ieLayer2Size        = 103
	ieLayer2Section     = 104
	ieEndReason         = 136
	ieStartSeconds      = 150
	ieEndSeconds        = 151
	ieStartMilliseconds = 152
	ieEndMilliseconds   = 153
	ieStartMicroseconds = 154
	ieEndMicroseconds   = 155
	ieStartNanoseconds  = 156
	ieEndNanoseconds    = 157
	ieStartDelta        = 158
	ieEndDelta          = 159
	ieBooted            = 160
	ieDuration          = 161
	ieDurationMicro     = 162
	ieUDPSource         = 180
	ieUDPDestination    = 181
	ieTCPSource         = 182
	ieTCPDestination    = 183
	ieTTL               = 192
	ieFragmentFlags     = 197
	ieInitiatorOctets   = 231
	ieResponderOctets   = 232
	ieVLANOuter         = 243
	ieInputPhysical     = 252
	ieOutputPhysical    = 253
	ieInitiatorPackets  = 298
	ieResponderPackets  = 299
	ieSelectorID        = 302
	ieSamplingPackets   = 305
	ieSamplingSpace     = 306
	ieSamplingSize      = 309
	ieSamplingPopulated = 310
	ieProbability       = 311
	ieFrameSize         = 312
	ieHeaderSection     = 313
	ieFrameSection      = 315
	ieObserved          = 318
	ieSelected          = 319
	ieEventTime         = 323
	ieFrameType         = 408
	ieSectionOffset     = 409
	ieSectionOctets     = 410
)

// op is what is done with one field of a record.
type op uint8

const (
	opSkip op = iota
	opOctets
	opPackets
	opProtocol
	opTOS
	opTCPFlags
	opSourcePort
	opDestinationPort
	opSource4
	opDestination4
	opSource6
	opDestination6
	opSourceMask
	opDestinationMask
	opInput
	opOutput
	opNextHop4
	opNextHop6
	opSourceAS
	opDestinationAS
	opVLAN
	opTTL
	opDirection
	opEndReason
	opForwarding
	opFirst
	opLast
	opStartSeconds
	opEndSeconds
	opStartMilliseconds
	opEndMilliseconds
	opStartMicroseconds
	opEndMicroseconds
	opStartNanoseconds
	opEndNanoseconds
	opStartDelta
	opEndDelta
	// From here on, seldom in the records of a busy exporter.
	opSourcePortOf // of one protocol: 0 in the records of others
	opDestinationPortOf
	opIPVersion
	opBothSource4 // IPv4 addresses of templates that have IPv6 addresses as well
	opBothDestination4
	opBothSource6
	opBothDestination6
	opMaskIfZero // the masks of such templates: one of each pair is 0
	opDestinationMaskIfZero
	opFragmentOffset
	opFragmentFlags
	opDuration
	opDurationMicro
	opBooted
	opInterval
	opSampler
	opSize
	opSpace
	opPopulation
	opProbability
	opObserved
	opSelected
	opBackOctets
	opBackPackets
	opBackFlags
	opFrame
	opHeader
	opFrameSize
	opFrameType
	opSectionOffset
	opSectionSize
	// Of options data alone.
	opActive
	opInactive
	opCount
)

// elements are the ops of IANA's elements.
var elements = map[uint16]op{
	ieOctets: opOctets, iePackets: opPackets, ieOctetsTotal: opOctets, iePacketsTotal: opPackets, iePostOctets: opOctets,
	iePostPackets: opPackets, ieInitiatorOctets: opOctets, ieInitiatorPackets: opPackets, ieResponderOctets: opBackOctets,
	ieResponderPackets: opBackPackets, ieProtocol: opProtocol, ieTOS: opTOS, ieTCPFlags: opTCPFlags, ieSourcePort: opSourcePort,
	ieDestinationPort: opDestinationPort, ieUDPSource: opSourcePortOf, ieUDPDestination: opDestinationPortOf, ieTCPSource: opSourcePortOf,
	ieTCPDestination: opDestinationPortOf, ieSource4: opSource4, ieDestination4: opDestination4, ieSource6: opSource6,
	ieDestination6: opDestination6, ieSourceMask4: opSourceMask, ieSourceMask6: opSourceMask, ieDestinationMask4: opDestinationMask,
	ieDestinationMask6: opDestinationMask, ieInput: opInput, ieInputPhysical: opInput, ieOutput: opOutput, ieOutputPhysical: opOutput,
	ieNextHop4: opNextHop4, ieNextHopBGP4: opNextHop4, ieNextHop6: opNextHop6, ieNextHopBGP6: opNextHop6, ieSourceAS: opSourceAS,
	ieDestinationAS: opDestinationAS, ieVLAN: opVLAN, ieVLANOuter: opVLAN, ieTTL: opTTL, ieTTLLeast: opTTL, ieDirection: opDirection,
	ieEndReason: opEndReason, ieForwarding: opForwarding, ieFirstSwitched: opFirst, ieLastSwitched: opLast,
	ieStartSeconds: opStartSeconds, ieEndSeconds: opEndSeconds, ieStartMilliseconds: opStartMilliseconds,
	ieEndMilliseconds: opEndMilliseconds, ieEventTime: opEndMilliseconds, ieStartMicroseconds: opStartMicroseconds,
	ieEndMicroseconds: opEndMicroseconds, ieStartNanoseconds: opStartNanoseconds, ieEndNanoseconds: opEndNanoseconds,
	ieStartDelta: opStartDelta, ieEndDelta: opEndDelta, ieIPVersion: opIPVersion, ieFragmentOffset: opFragmentOffset,
	ieFragmentFlags: opFragmentFlags, ieDuration: opDuration, ieDurationMicro: opDurationMicro, ieBooted: opBooted,
	ieSamplingInterval: opInterval, ieSamplerInterval: opInterval, ieSamplerID: opSampler, ieSelectorID: opSampler,
	ieSamplingPackets: opSize, ieSamplingSize: opSize, ieSamplingSpace: opSpace, ieSamplingPopulated: opPopulation,
	ieProbability: opProbability, ieObserved: opObserved, ieSelected: opSelected, ieLayer2Section: opFrame, ieFrameSection: opFrame,
	ieHeaderSection: opHeader, ieFrameSize: opFrameSize, ieFrameType: opFrameType, ieSectionOffset: opSectionOffset,
	ieLayer2Offset: opSectionOffset, ieLayer2Size: opSectionSize, ieSectionOctets: opSectionSize,
	ieActiveTimeout: opActive, ieInactiveTimeout: opInactive,
}

// reverse is the enterprise number of elements that are about the answers (RFC 5103).
const reverse = 29305

// reversed are the ops of those.
var reversed = map[uint16]op{
	ieOctets: opBackOctets, iePackets: opBackPackets, ieOctetsTotal: opBackOctets, iePacketsTotal: opBackPackets, ieTCPFlags: opBackFlags,
}

// instead lists which elements are not read where others are that say the same better: by the others.
var instead = []struct{ better, worse uint16 }{
	{ieOctets, ieOctetsTotal}, {ieOctets, iePostOctets}, {ieOctetsTotal, iePostOctets}, {ieOctets, ieInitiatorOctets},
	{iePackets, iePacketsTotal}, {iePackets, iePostPackets}, {iePacketsTotal, iePostPackets}, {iePackets, ieInitiatorPackets},
	{ieInitiatorOctets, ieOctetsTotal}, {ieInitiatorPackets, iePacketsTotal}, {ieInitiatorOctets, iePostOctets},
	{ieInitiatorPackets, iePostPackets}, {ieInput, ieInputPhysical}, {ieOutput, ieOutputPhysical}, {ieNextHop4, ieNextHopBGP4},
	{ieNextHop6, ieNextHopBGP6}, {ieVLAN, ieVLANOuter}, {ieTTL, ieTTLLeast}, {ieEndSeconds, ieEventTime}, {ieEndMilliseconds, ieEventTime},
	{ieEndMicroseconds, ieEventTime}, {ieEndNanoseconds, ieEventTime}, {ieLastSwitched, ieEventTime}, {ieStartMilliseconds, ieStartSeconds},
	{ieEndMilliseconds, ieEndSeconds}, {ieStartMicroseconds, ieStartMilliseconds}, {ieEndMicroseconds, ieEndMilliseconds},
	{ieStartNanoseconds, ieStartMicroseconds}, {ieEndNanoseconds, ieEndMicroseconds},
}
